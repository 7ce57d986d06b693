"""Runs a harness: `python -m rosetta HARNESS.py`.

Loads the SDK before the harness, so that standard output is guarded before
any framework is imported and the time of the import is seen.
"""

import os
import runpy
import sys

import rosetta  # guards standard output and starts the clock

if len(sys.argv) != 2:
    sys.exit("usage: python -m rosetta HARNESS.py")
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as leaving:  # no error to Python, which knows of no failure then
    if leaving.code not in (None, 0):
        rosetta._failures.append(leaving)
    raise
