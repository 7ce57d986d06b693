"""Runs a harness: `python -m rosetta HARNESS.py`.

Loads the SDK before the harness, so that standard output is guarded before
any framework is imported and the time of the import is seen.

The folder of the harness comes last where Python looks for modules: a harness
may be called `signal.py` or `random.py` without standing in for that module.
"""

import os
import sys

# Where Python was started, or this file: nothing is to be found there.
if os.path.abspath(sys.path[0]) in (os.getcwd(), os.path.dirname(os.path.abspath(__file__))):
    del sys.path[0]

import runpy

import rosetta  # guards standard output and starts the clock

if len(sys.argv) != 2:
    sys.exit("usage: python -m rosetta HARNESS.py")
sys.argv = sys.argv[1:]
sys.path.append(os.path.dirname(os.path.abspath(sys.argv[0])))
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as leaving:  # no error to Python, which knows of no failure then
    if leaving.code not in (None, 0):
        rosetta._failures.append(leaving)
    raise
