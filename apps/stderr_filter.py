"""Drops what TensorFlow says on standard error when it is imported, and nothing else.

TensorFlow 2.21 logs from C++ before its logging is set up: `TF_CPP_MIN_LOG_LEVEL` does
not reach those lines, and Python cannot see them.
"""

import contextlib
import importlib.abc
import importlib.util
import os
import shutil
import subprocess
import sys

NOISE = (
    "^WARNING: All log messages before absl::InitializeLog",
    "^[IW]0000 [0-9:.]+ ",
    "^E0000 .*Unable to register cu[A-Z]+ (factory|plugin)",
)


@contextlib.contextmanager
def without_noise():
    """Runs a block with lines of `NOISE` taken out of the process' standard error.

    A process of its own passes the others on, so that what a library says before it
    aborts is not lost. Without `grep` all lines stay.
    """
    grep = shutil.which("grep")
    if grep is None:
        yield
        return
    patterns = [part for pattern in NOISE for part in ("-e", pattern)]
    command = [grep, "-E", "-v", "--line-buffered", *patterns]
    sys.stderr.flush()
    before = os.dup(2)
    passing = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=before)
    os.dup2(passing.stdin.fileno(), 2)
    passing.stdin.close()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
        with contextlib.suppress(subprocess.TimeoutExpired):  # kept open by a child
            passing.wait(timeout=5)


class TensorFlowFinder(importlib.abc.MetaPathFinder):
    """Wraps the import of TensorFlow, whoever asks for it first."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = _quietly(spec.loader.exec_module)
        return spec


def _quietly(execute):
    def exec_module(module):
        with without_noise():
            execute(module)

    return exec_module
