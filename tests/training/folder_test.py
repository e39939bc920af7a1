import os
import signal
import subprocess
import sys

import pytest

from nfm_keras.training.distribution.agreement import RunStopped, catch_signals
from nfm_keras.training.folder import locked

HOLDER = """
import sys, time
from nfm_keras.records.lock import locked  # what a run's folder is locked by, alone
with locked(sys.argv[1], "run is in use"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path / "run"`."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run" / ".lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_is_kept_out_until_its_holder_is_killed(tmp_path, holder):
    wanted = f"run is in use: .*Received: a lock of process {holder.pid} on "
    with pytest.raises(BlockingIOError, match=wanted), locked(tmp_path / "run"):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / "run"):
        assert str(os.getpid()) in (tmp_path / "run" / ".lock").read_text()


def test_a_lock_leaves_nothing_and_can_be_taken_again(tmp_path):
    for _ in range(2):
        with (
            locked(tmp_path),
            pytest.raises(BlockingIOError, match="is in use"),
            locked(tmp_path),
        ):
            pass
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    wanted = r"Cannot write to .*file/run: Not a directory"
    with pytest.raises(NotADirectoryError, match=wanted), locked(tmp_path / "file/run"):
        pass


@pytest.fixture
def interruptible():
    """As on a terminal; a job in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_and_a_second_interrupt_does_not_wait(number, interruptible):
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with catch_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.is_set() and stop.number == number
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    stopped = RunStopped(number, 4, 12)
    assert stopped.code == 128 + number and str(stopped) == "saved at epoch 4, step 12"


def test_a_job_in_the_background_goes_on_ignoring_interrupts(interruptible):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with catch_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert not stop.is_set()
