"""An experiment at full scale, with JAX on one accelerator, a slice at a time.

The images stay on the device. An epoch is one dispatch: `lax.scan` over the steps of
`NFMModel.train_step`, with crops and mirror images drawn on the device, a pure function
of (seed, epoch, step). The host compiles and waits. The seed is an argument of the
program, so that a row is compiled once for all its seeds.

A run leaves in its folder `record.json`, `evaluation.json`, `weights_float16.npz` and
`classifier.keras`. What is scored are the weights of that file (`half_weights`).
"""

import dataclasses
import shlex
import shutil
import time

import keras

from nfm_keras import data, evaluation, records, training
from nfm_keras.experiments.experiment import runs
from nfm_keras.experiments.resident import compile_epoch, limited
from nfm_keras.experiments.tables import FULL
from nfm_keras.records import evaluation as evaluations
from nfm_keras.serving import half_weights
from nfm_keras.training import checkpoints, resumption
from nfm_keras.training.folder import locked
from nfm_keras.training.weights import in_memory

PERTURBATIONS = ("clean", "white_noise", "salt_and_pepper")
FIRST = ("nfm", "erm")
"""Rows that are trained before the others: the paper's claim is about these two."""

_BATCH = 1000  # of validation and scores
_MIXING = ("alpha_schedule", "noise_schedule", "off_epoch")
_LEFT_OUT = (*_MIXING, "policy", "validation", "ema", "steps_per_execution")


class Budget:
    """The time that one command has; its first piece of work is always granted.

    Args:
        minutes: float. How many.
    """

    def __init__(self, minutes):
        self.minutes = minutes
        self._end = time.monotonic() + 60 * minutes
        self._worked = False

    def allows(self, seconds=0.0) -> bool:
        """Returns whether there is time for a piece of work that takes `seconds`."""
        return not self._worked or time.monotonic() + seconds < self._end

    def spend(self):
        """Takes note that a piece of work was done."""
        self._worked = True


def plan(experiment, output, rows=None, seeds=None, **scale):
    """Lists the runs of an experiment at full scale.

    Args:
        experiment: `nfm_keras.experiments.experiment.Experiment`.
        output: Folder of all runs.
        rows: Names of rows, in their order; None for all, `FIRST` before the others.
        seeds: Integers; None for the experiment's.
        **scale: Replaces values of `FULL`.

    Returns:
        List of `nfm_keras.experiments.experiment.Run`, seed by seed.

    Raises:
        ValueError: For an unknown row, what is no seed, or a setting that is left out
            here.
    """
    if rows is None:
        rows = sorted(experiment.rows, key=_place)
    experiment = experiment.scaled(rows=rows, **FULL | scale)
    if seeds is not None:
        if not all(str(seed).isdecimal() for seed in seeds):
            raise ValueError(f"`seeds` must be integers from 0. Received: {seeds}")
        experiment = dataclasses.replace(experiment, seeds=tuple(map(int, seeds)))
    planned = runs(experiment, output)
    for run in planned:
        _check_supported(run.config)
    return planned


def carry_out(todo, splits, minutes, command="", tell=print) -> bool:
    """Trains and scores run after run, as far as the time goes.

    It ends before the epoch that would not fit. What it did before a kill is lost from
    the last checkpoint on, `eval_every` epochs at most; on a CPU neither makes a
    difference to a single bit of the result.

    Args:
        todo: From `plan`.
        splits: From `packing.unpack`.
        minutes: float. Time for this call; an epoch or a scoring is always done.
        command: str. What the runs' own flags are put behind, for the records.
        tell: Function that is called with each line of text on how it goes.

    Returns:
        Whether all runs are done.

    Raises:
        ValueError: For a folder that holds a run with another config.
        BlockingIOError: If another process works on a run that comes next.
    """
    done = [run for run in todo if run.record]
    rates = {run.row: run.record.seconds / run.config.epochs for run in done}
    budget = Budget(minutes)
    left = [run for run in todo if run not in done]
    while left and budget.allows():
        with locked(left[0].folder):
            if left[0].record:  # another process was here meanwhile
                left.pop(0)
                continue
            slice_ = _Slice(left[0], splits, budget, tell)
            finished = slice_.go_on(command)
        rates[left[0].row] = slice_.seconds_per_epoch
        if not finished:
            break
        left.pop(0)
    tell(_outlook(left, len(todo), rates))
    return not left


class _Checkpoint(checkpoints.Checkpoint):
    """Logs every epoch and writes some of them."""

    is_due = True

    def _write(self, epoch, step=0):
        if self.is_due:
            super()._write(epoch, step)


class _Slice:
    """What is done of one run in one call: it starts at the run's newest checkpoint."""

    def __init__(self, run, splits, budget, tell):
        self.run, self.budget, self.tell = run, budget, tell
        keras.utils.clear_session()
        keras.utils.set_random_seed(run.config.seed)
        self.config, network = training.resolve(run.config)
        training.check_folder(run.folder, self.config, resume=True)
        self.train, _, self.test = limited(splits, self.config.limit)
        steps = data.steps_per_epoch(self.train, self.config.batch_size)
        self.model = training.compile_model(self.config, network, steps)
        folder, config = run.folder / training.CHECKPOINTS, self.config.to_json()
        state = checkpoints.restore(self.model, folder, config) or {}
        images = resumption.images(self.train, steps)
        if state:
            resumption.check_images(f"The newest of {folder}", state, images)
        records.write_json(run.folder / training.CONFIG, config)
        extra = resumption.begun(state, self.config.epochs) | {"images": images}
        self.checkpoint = _Checkpoint(folder, state=state, config=config, extra=extra)
        self.checkpoint.set_model(self.model)
        self.epochs = range(state.get("epoch", 0), self.config.epochs)

    @property
    def seconds_per_epoch(self):
        return self.checkpoint.seconds / len(self.checkpoint.history["loss"])

    def go_on(self, command):
        """Trains and scores; returns whether the run got to its record."""
        if self.epochs and not self._fit():
            return False
        self._finish(command)
        self.budget.spend()
        return True

    def _fit(self):
        """Trains epoch by epoch; returns whether there is time to score the result."""
        train_epoch = compile_epoch(self.model, self.train, self.config)
        for epoch in self.epochs:
            self.checkpoint.on_epoch_begin(epoch)
            begun = time.monotonic()
            logs = train_epoch(epoch)
            seconds = time.monotonic() - begun
            self.budget.spend()
            stops = not self.budget.allows(seconds)
            is_last = epoch + 1 == self.config.epochs
            counts = (epoch + 1) % self.config.eval_every == 0 or is_last
            logs |= self._validate() if counts else {}
            self.checkpoint.is_due = counts or stops
            self.checkpoint.on_epoch_end(epoch, logs)
            self.tell(self._line(epoch + 1, logs, len(self.train.images) / seconds))
            if stops:
                self._tell_if_too_long(seconds)
                return False
        return True

    def _tell_if_too_long(self, seconds):
        if seconds > 60 * self.budget.minutes > 0:
            self.tell(
                f"An epoch takes {seconds / 60:.1f} min, more than the "
                f"{self.budget.minutes:g} of --minutes: a call goes on by one epoch."
            )

    def _validate(self):
        metrics = self.model.evaluate(
            self.test.images,
            self.test.labels,
            batch_size=_BATCH,
            verbose=0,
            return_dict=True,
        )
        return {f"val_{name}": value for name, value in metrics.items()}

    def _finish(self, command):
        """Scores what is kept of the network, and writes the record."""
        run, weights = self.run, self.run.folder / half_weights.FILE
        half_weights.save_weights(self.model.model, weights)
        classifier = half_weights.build_classifier(self.config, weights)
        with records.whole(run.folder / training.CLASSIFIER) as hidden:
            in_memory.write(classifier.save, hidden)
        command = f"{command} {_flags(run)}".strip()
        evaluation.evaluate(
            classifier,
            self.test,
            PERTURBATIONS,
            batch_size=_BATCH,
            progress=lambda *score: self.tell(evaluation.line(*score)),
            store=run.folder / evaluations.EVALUATION_FILE,
            about={
                "model": run.name,
                "dataset": self.config.dataset,
                "command": command,
            },
        )
        network, checkpoint = self.model.model, self.checkpoint
        started = checkpoint.extra["started"]
        about = run.folder, self.config, network, checkpoint, started, command
        records.save(training.to_record(*about), run.folder / records.FILE)
        shutil.rmtree(checkpoint.folder)

    def _line(self, epoch, logs, speed):
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        place = f"{self.run.name}  epoch {epoch}/{self.config.epochs}"
        return f"{place}  {numbers}  {speed:,.0f} images/s"


def _place(row):
    """Returns the place of a row among those to train; others keep their order."""
    return FIRST.index(row) if row in FIRST else len(FIRST)


def _check_supported(config):
    for name in _LEFT_OUT:
        wanted, received = getattr(training.Config, name), getattr(config, name)
        if received != wanted:
            raise ValueError(
                f"`{name}` must be {wanted} at full scale. Received: {received!r}"
            )


def _flags(run):
    """Returns the flags that say which run it is, and at what scale."""
    given = {"rows": run.row, "seeds": run.config.seed}
    scale = {name: getattr(run.config, name) for name in FULL if name != "eval_every"}
    given |= {name: value for name, value in scale.items() if value != FULL[name]}
    return shlex.join(f"--{name}={value}" for name, value in given.items())


def _outlook(left, count, rates):
    """Says what is left to do, and how long its training will take."""
    text = f"{count - len(left)} of {count} runs are done."
    if not left:
        return text
    epochs = {run.name: _epochs_left(run) for run in left}
    # A row that was never at work takes as long as the others, roughly.
    usual = sum(rates.values()) / max(len(rates), 1)
    seconds = sum(epochs[run.name] * rates.get(run.row, usual) for run in left)
    names = ", ".join(f"{name} ({n or 'no'} epochs)" for name, n in epochs.items())
    return f"{text} Left: {names}. Training takes about {seconds / 60:.0f} min more."


def _epochs_left(run):
    done = (run.folder / training.CHECKPOINTS).glob("[0-9]*")
    return run.config.epochs - max((int(path.name) for path in done), default=0)
