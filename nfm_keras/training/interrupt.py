"""What to do when the machine is about to be taken away."""

import contextlib
import signal
import threading

EXIT_CODE = 128 + signal.SIGTERM
"""143: how a shell reports a process that SIGTERM ended."""


@contextlib.contextmanager
def catch_sigterm():
    """Turns SIGTERM into an event for the length of a `with` block.

    Outside of the main thread, where Python handles no signals, the event is never set.

    Yields:
        `threading.Event`, set once the signal came.

    Example:

    >>> with catch_sigterm() as stop:
    ...     stop.is_set()
    False
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.signal(signal.SIGTERM, lambda *_: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGTERM, before)
