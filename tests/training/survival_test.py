"""Runs in processes of their own that are killed, stopped and held up."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import BACKEND
from small_run import arrays

from nfm_keras import records

pytestmark = pytest.mark.backends

# Long enough to be killed in: 24 steps an epoch, and a checkpoint at every fourth.
RUN = [
    *("--scheme=nfm", "--dataset=digits", "--network=mlp", "--width=4", "--epochs=3"),
    *("--batch_size=54", "--learning_rate=0.05", "--schedule=cosine", "--ema"),
    *("--validation=60", "--verbose=0", "--save_every=4", "--seed=5"),
]


def start(folder, *flags):
    command = [sys.executable, "-m", "apps.train", f"--run_dir={folder}", *RUN, *flags]
    environment = os.environ | {"KERAS_BACKEND": BACKEND, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A job in the background ignores Ctrl-C, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process):
    """Returns exit code and what was said, once a process is done."""
    _, said = process.communicate(timeout=500)
    return process.returncode, said.decode()


def wait_for(folder, pattern, process):
    while not list((folder / "checkpoints").glob(pattern)):
        assert process.poll() is None, process.stderr.read().decode()[-2000:]
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    code, said = finish(start(folder))
    assert code == 0, said[-2000:]
    return folder


def assert_same(folder, whole):
    a, b = arrays(whole), arrays(folder)
    assert a.keys() == b.keys() and len(a) > 10
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    history = records.load(whole / "record.json").history
    np.testing.assert_equal(records.load(folder / "record.json").history, history)


@pytest.mark.slow
def test_a_run_that_is_locked_killed_and_terminated_ends_the_same(tmp_path, whole):
    first = start(tmp_path)
    wait_for(tmp_path, "0000-*", first)
    first.send_signal(signal.SIGSTOP)
    try:
        code, said = finish(start(tmp_path, "--resume"))
    finally:
        first.kill()
        first.communicate()
    last = said.strip().splitlines()[-1]
    assert code == 1
    assert last.startswith(f"train: {tmp_path} is in use: one process at a time")
    assert f"Received: a lock of process {first.pid} on" in last
    held = newest(tmp_path)
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(tmp_path, "--resume")
        while newest(tmp_path) == held:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        code, said = finish(process)
        assert code == 128 + number and "Traceback" not in said
        assert newest(tmp_path) != held and not (tmp_path / "record.json").exists()
        held = newest(tmp_path)
        epoch, _, step = held.partition("-")
        expected = f"train: saved at epoch {int(epoch)}, step {int(step or 0)}; go on"
        assert said.strip().splitlines()[-1].startswith(expected)
    code, said = finish(start(tmp_path, "--resume"))
    assert code == 0, said[-2000:]
    assert_same(tmp_path, whole)


@pytest.mark.slow
def test_a_run_that_is_killed_at_ten_random_moments_ends_the_same(tmp_path, whole):
    """From its start or from the first new checkpoint on."""
    rng = random.Random(0)
    for _ in range(10):
        held, at_start = newest(tmp_path), rng.random() < 0.2
        process = start(tmp_path, "--resume")
        while not at_start and newest(tmp_path) == held:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(rng.random() * (5 if at_start else 0.1))
        assert process.poll() is None, "the run was over before it was killed"
        process.kill()
        process.communicate()
    code, said = finish(start(tmp_path, "--resume"))
    assert code == 0, said[-2000:]
    assert_same(tmp_path, whole)


def newest(folder):
    return max((p.name for p in (folder / "checkpoints").glob("[0-9]*")), default="")
