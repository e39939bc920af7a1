"""Programs in processes of their own, none of which waits for Keras to be imported.

A process that imports Keras and its backend takes seconds to do so. One does, the first
time that a program is run, and copies itself for each of them: it computes nothing and
knows nothing of ours, so that a copy starts as any new process would.
"""

import atexit
import functools
import gc
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).parents[1]
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}


def run(program, *arguments, cwd=REPOSITORY):
    """As `subprocess.run` of `python -m program`, or of a file or source of Python."""
    with tempfile.TemporaryDirectory() as folder:
        told = [pathlib.Path(folder, name) for name in ("out", "err")]
        asked = [program, *arguments], cwd, *told
        waiting = _process()
        waiting.stdin.write(json.dumps(asked, default=str) + "\n")
        waiting.stdin.flush()
        code = int(waiting.stdout.readline())
        out, err = (path.read_text(encoding="utf-8") for path in told)
    return subprocess.CompletedProcess(asked[0], code, out, err)


@functools.cache
def _process():
    process = subprocess.Popen(
        [sys.executable, __file__],
        env=os.environ | QUIET,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(process.communicate)
    atexit.register(process.kill)  # called before
    return process


def _copies():
    """Waits for programs; returns in a copy of this process, with what it shall run."""
    for line in iter(sys.stdin.readline, ""):
        if os.fork() == 0:
            return json.loads(line)
        _, status = os.wait()
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)  # nothing more is asked, or who asked is gone


def _become(arguments, cwd, out, err):
    for number, path in enumerate((os.devnull, out, err)):
        mode = os.O_RDWR | os.O_CREAT if number else os.O_RDONLY
        os.dup2(os.open(path, mode), number)
    signal.alarm(300)  # ends what hangs
    os.chdir(cwd)
    sys.path[0] = cwd
    sys.argv = arguments
    program = arguments[0]
    if "\n" in program:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
    elif program.endswith(".py"):
        sys.path[0] = str(pathlib.Path(program).parent)
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    import keras  # noqa: F401
    import scipy.stats  # noqa: F401

    gc.freeze()  # what is here already is not looked through in each copy
    _become(*_copies())
