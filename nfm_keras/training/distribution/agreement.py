"""How a run is asked to stop: by a signal, and all its processes at the same step."""

import contextlib
import signal
import threading

import keras

from nfm_keras.training.distribution.engine import Engine


class StopRequest(threading.Event):
    """An event that a signal sets, to ask a run to save and end.

    Attributes:
        number: Of the signal.
    """

    number = signal.SIGTERM


class RunStopped(SystemExit):
    """Ends the process of a run that was asked to stop, once it is saved.

    Args:
        number: Of the signal that asked; the exit status is 128 more, as a shell
            reports it.
        epoch: How many epochs are done.
        step: How many steps of the next are done.
    """

    def __init__(self, number: int, epoch: int, step: int = 0) -> None:
        super().__init__(128 + number)
        self.epoch, self.step = epoch, step

    def __str__(self) -> str:
        return f"saved at epoch {self.epoch}, step {self.step}"


@contextlib.contextmanager
def catch_signals():
    """Turns SIGTERM and Ctrl-C into an event for the length of a `with` block.

    A second Ctrl-C interrupts at once. Outside of the main thread, where Python handles
    no signals, the event is never set.

    Yields:
        `StopRequest`, set once a signal came.

    Example:

    >>> with catch_signals() as stop:
    ...     stop.is_set()
    False
    """
    event = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def ask(number, frame):
        if event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        event.number = number
        event.set()

    # A job that a shell started in the background ignores Ctrl-C, and goes on so.
    heard = (signal.SIGTERM, signal.SIGINT)
    heard = [n for n in heard if signal.getsignal(n) != signal.SIG_IGN]
    before = {n: signal.signal(n, ask) for n in heard}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Agreement(keras.callbacks.Callback):
    """Tells all processes at the same step that one of them has to stop.

    Put it before the callbacks that look at `stop`.

    Args:
        engine: The run's `Engine`.
        asked: `StopRequest` that is set in the process that has to stop.

    Attributes:
        stop: `StopRequest`, set in all processes within 20 steps of that; where
            there is one process only, at the next.
    """

    def __init__(self, engine: Engine, asked: StopRequest) -> None:
        super().__init__()
        self.engine, self.asked, self.stop = engine, asked, StopRequest()
        # An answer waits for all devices.
        self.every = 1 if engine.processes == 1 else 20

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._batch = 0

    # Not `on_train_batch_end`: with that, Keras waits for the logs of each step.
    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        before, self._batch = self._batch, batch
        if batch // self.every > before // self.every:
            self._ask()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._ask()

    def _ask(self):
        if self.engine.any(self.asked.is_set()):
            self.stop.number = self.asked.number
            self.stop.set()
