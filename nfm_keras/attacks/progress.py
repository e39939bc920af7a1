"""How far an attack is, told to whoever listens in the same thread."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

Listener = Callable[[float, str], object]
"""Called with the share that is done, from 0 to 1, and what is being done; often."""

_listener: contextvars.ContextVar[Listener | None] = contextvars.ContextVar(
    "listener", default=None
)


def heard() -> bool:
    """Returns whether anybody listens."""
    return _listener.get() is not None


def tell(share: float, what: str = "") -> None:
    """Says how far one is.

    Args:
        share: float from 0 to 1.
        what: str, in a few words.
    """
    listener = _listener.get()
    if listener is not None:
        listener(min(max(float(share), 0.0), 1.0), what)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Listens to what is told inside.

    Example:

    >>> with listening(lambda share, what: print(f"{share:.0%} {what}")):
    ...     with part(0.5, 1.0, "second half"):
    ...         tell(0.5)
    75% second half
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def part(first: float, last: float, what: str = "") -> Iterator[None]:
    """What is told inside is of a part of the whole.

    Args:
        first, last: floats, where the part begins and ends, of 1.
        what: str, what it is called; by default what is told inside.
    """
    outer = _listener.get()
    if outer is None:
        yield
        return

    def inner(share: float, said: str) -> None:
        outer(first + share * (last - first), what or said)

    with listening(inner):
        yield
