"""rosetta as a program that a check starts, and whose end and words it holds to what they must be."""

import subprocess
import sys


class Driven:
    """Has `program`, `project` and `environment` from the class that is one."""

    def start(self, *words):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([self.program, *words], cwd=self.project, env=self.environment, text=True, **pipes)

    def __call__(self, *words, code=0, says=""):
        child = self.start(*words)
        stdout, stderr = child.communicate()
        if child.returncode != code or says not in stderr:
            sys.exit(f"rosetta {' '.join(words)}: code {child.returncode}, not {code}, or without `{says}`\n{stderr}")
        return stdout
