"""How far an evaluation is and how long the rest takes, on one line of a terminal."""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from nfm_keras.attacks import progress
from nfm_keras.evaluation.progress.lines import duration
from nfm_keras.records.score import Score

_EVERY = 0.2
"""Seconds between two looks of the line."""

_SOON = 2.0
"""Seconds after which the time left is more than a guess."""


class Meter:
    """Reckons the time left by what was done so far, and shows it while work runs.

    Args:
        costs: list of float, passes of the classifier that each score will take.
        wanted: What the user asked for: False for silence; None for a line where
            standard error is a terminal, True for one wherever it goes; a function
            `wanted(score, left)` is called with each score, beside the line of None.
        stream: Where the line goes, by default standard error.
    """

    def __init__(
        self,
        costs: Sequence[float],
        wanted: bool | Callable[[Score, float], object] | None = None,
        stream: IO[str] | None = None,
    ) -> None:
        self.costs = list(costs)
        self.seconds = self.passes = 0.0
        self._told = wanted if callable(wanted) else None
        self._stream = sys.stderr if stream is None else stream
        self._shows = wanted is True or (
            wanted is not False and bool(self._stream) and self._stream.isatty()
        )
        self._shown, self._last, self._started = "", 0.0, 0.0

    @contextlib.contextmanager
    def busy(self, name: str, index: int | None = None) -> Iterator[None]:
        """Shows how far one is with what is done inside.

        Args:
            name: str, such as the id of a perturbation.
            index: int, the place of its score; None for what is no score.
        """
        if not self._shows:
            yield
            return
        self._started = time.monotonic()
        place = "" if index is None else f"[{index + 1}/{len(self.costs)}] "

        def show(share: float, what: str) -> None:
            self._show(f"{place}{name}", index, share, what)

        show(0.0, "")
        try:
            with progress.listening(show):
                yield
        finally:
            self.clear()

    def count(self, index: int, seconds: float) -> None:
        """Takes note of how long a score took that was measured now."""
        self.seconds, self.passes = (
            self.seconds + seconds,
            self.passes + self.costs[index],
        )

    def ready(self, index: int, score: Score) -> None:
        """Hands a score and the seconds left to whoever asked for them."""
        if self._told is not None:
            left = self.seconds / max(self.passes, 1) * sum(self.costs[index + 1 :])
            self._told(score, left)

    def clear(self) -> None:
        """Leaves the line of the terminal empty."""
        if self._shown:
            self._stream.write("\r" + " " * len(self._shown) + "\r")
            self._stream.flush()
            self._shown, self._last = "", 0.0

    def _show(self, name, index, share, what):
        now = time.monotonic()
        if now - self._last < _EVERY:
            return
        parts = [name, what, f"{share:.0%}", self._left(index, share, now)]
        width = max(shutil.get_terminal_size().columns - 1, 20)
        text = ", ".join(part for part in parts if part)[:width]
        self._stream.write("\r" + text.ljust(len(self._shown)))
        self._stream.flush()
        self._shown, self._last = text, now

    def _left(self, index, share, now):
        """Of this score, and of those behind it as far as any was measured."""
        spent = now - self._started
        if index is None:
            done, rest = share, 1 - share
        else:
            done = self.passes + share * self.costs[index]
            rest = (1 - share) * self.costs[index] + sum(self.costs[index + 1 :])
            spent += self.seconds
        if spent < _SOON or not done or not rest:
            return ""
        return f"about {duration(spent / done * rest)} left"
