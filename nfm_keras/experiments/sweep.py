"""A sweep: every run of an experiment trained and scored, in processes of their own."""

import dataclasses
import errno
import functools
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from nfm_keras import data, records
from nfm_keras.experiments import cost
from nfm_keras.experiments.experiment import Experiment, Run, runs, unscored
from nfm_keras.types import StrPath

LOG = "sweep.log"
"""What the processes of a run print, in the run's folder."""


class Failure(Exception):
    """A run that failed, and why."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The runs of an experiment, and how they are done.

    What is recorded is skipped, so that the same sweep goes on after a kill.

    Args:
        experiment: `Experiment`.
        folder: Each run has `<folder>/<row>/seed_<n>`.
        train: Function from a `Run` to the arguments of `python -m` that train it, such
            as `["apps.train", "--scheme=nfm"]`.
        score: Function from a `Run` and an `Experiment`, of one protocol, to those that
            score it.
        data_dir, download: As in `nfm_keras.data.load`.
    """

    experiment: Experiment
    folder: StrPath
    train: Callable[[Run], list[str]]
    score: Callable[[Run, Experiment], list[str]]
    data_dir: StrPath | None = None
    download: bool = False

    def plan(self) -> None:
        """Prints the runs that are left, what they take here and their commands.

        Raises:
            ValueError: If a folder holds a run of another config.
        """
        todo = runs(self.experiment, self.folder)
        left = [run for run in todo if not run.record]
        images = self._planned(left[0]) if left else 0
        seconds = cost.estimate(left, images) if left else []
        spent = dict(zip((run.name for run in left), seconds, strict=True))
        for run in todo:
            if run.name not in spent:
                print(f"{run.name:32} recorded")
                continue
            print(
                f"{run.name:32} {_duration(spent[run.name]):>10}  "
                f"{shlex.join(self.train(run))}"
            )
        print(
            f"{len(left)} of {len(todo)} run(s) to do: about "
            f"{_duration(sum(seconds))} of training here, and the scoring. An "
            f"estimate, from {cost.basis(left)}."
        )
        for line in cost.elsewhere(left, images):
            print(line)

    def _planned(self, run):
        """How many images there are to train on, also of a set that is not here yet."""
        try:
            return _trained_on(*self._place(run))
        except FileNotFoundError:
            known = cost.known_size(run.config.dataset)
            if known is None:
                raise
            return known

    def carry_out(self) -> None:
        """Trains and scores run after run, and prints what each came to.

        Raises:
            RuntimeError: If runs failed, once all others are done.
            OSError: If the disk is full, at once.
        """
        todo = runs(self.experiment, self.folder)
        failed, begun = {}, time.monotonic()
        for place, run in enumerate(todo, start=1):
            print(f"[{place}/{len(todo)}] {run.name}", flush=True)
            try:
                told = self._finish(run)
            except (Failure, ValueError, OSError) as error:
                if _concerns_all(error):
                    raise
                failed[run.name] = error
                print(f"  failed: {error}", file=sys.stderr, flush=True)
            else:
                print(f"  {told}", flush=True)
        minutes = (time.monotonic() - begun) / 60
        done = len(todo) - len(failed)
        print(f"{done} of {len(todo)} run(s) done, {minutes:.0f} min")
        if failed:
            raise RuntimeError(
                f"{len(failed)} run(s) failed; the same command tries again. Received: "
                + "; ".join(f"{name}: {error}" for name, error in failed.items())
            )

    def _scored_on(self, run):
        """How many images there are to score, without those that cannot be read."""
        path = run.folder / records.EVALUATION_FILES[run.split]
        skipped = records.load_evaluation(path).skipped if path.exists() else ()
        if run.split == "validation":
            return run.config.validation - len(skipped)
        return _tested_on(*self._place(run)) - len(skipped)

    def _place(self, run):
        limits = run.config.limit, run.config.validation
        return run.config.dataset, self.data_dir, self.download, *limits

    def _finish(self, run):
        """Does what is left of a run, and returns in a line what it came to."""
        if not run.record:
            _call(run, self.train(run))
        if not run.record:
            raise Failure(f"its training left no record in {run.folder}")
        for view in self.experiment.by_protocol():
            if unscored(view, run.record, self._scored_on(run)):
                _call(run, self.score(run, view))
        record = run.record
        first, minutes = record.scores[0], record.seconds / 60
        return (
            f"{first.perturbation} {first.value:.1f} %, {minutes:.0f} min of training"
        )


def _concerns_all(error):
    """Whether the other runs would fail as well: the disk is full, or in use."""
    full = errno.ENOSPC, errno.EDQUOT
    return isinstance(error, BlockingIOError) or getattr(error, "errno", None) in full


def _duration(seconds):
    """Seconds in words: minutes, and from two hours on hours."""
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} hours"


@functools.cache
def _trained_on(dataset, data_dir, download, limit, validation):
    """How many images there are to train on."""
    splits = data.load(dataset, data_dir, download, limit, validation)
    return len(splits.train.images)


@functools.cache
def _tested_on(dataset, data_dir, download, limit, validation):
    """How many images there are to test on, for the runs that held out so many."""
    held_out = {"limit": limit, "validation": validation}
    return len(data.load_test(dataset, held_out, data_dir, download).images)


def _call(run: Run, arguments):
    """Runs an app in a process of its own, its output in the run's log.

    Raises:
        Failure: If it ends with an error; the last line of its output says which.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    path = run.folder / LOG
    with path.open("a", encoding="utf-8") as log:
        log.write(f"$ python -m {shlex.join(arguments)}\n")
        log.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            status = process.wait()
        except BaseException:
            process.terminate()  # or it would go on alone
            process.wait()
            raise
    if status:
        text = path.read_text(encoding="utf-8", errors="replace")
        raise Failure(f"{arguments[0]} ended {_why(status, text)} ({path})")


def _why(status, text):
    """How a process ended, and the line of its output that says most."""
    lines = text.strip().splitlines()
    if status > 0:
        return f"with {status}: {lines[-1]}"
    # Python's own last words, before pages of frames.
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return f"by {signal.Signals(-status).name}" + "".join(f": {x}" for x in fatal[-1:])
