"""Table 1 at full scale, with JAX alone, on one accelerator, a slice at a time.

    python -m benchmarks.full_table1 --pack=cifar10.npz
    KERAS_BACKEND=jax python -m benchmarks.full_table1 --data=cifar10.npz \\
        --output=results/full_table1 --minutes=9

Every row and seed of `experiments/table1.py`: PreActResNet-18 at width 1, 200 epochs in
mixed_bfloat16, batches of 128; scored clean, under white noise and salt and pepper. The
first command needs TensorFlow Datasets and writes the images as arrays; the second
needs JAX and no TensorFlow, so that it runs on a machine that has nothing else.

The images stay on the device. An epoch is one dispatch: `lax.scan` over the steps of
`NFMModel.train_step`, with crops and mirror images drawn on the device, a pure function
of (seed, epoch, step). The host compiles and waits. The seed is an argument of the
program, so that a row is compiled once for all its seeds, and the compiled programs
stay in `<output>/.cache`.

A command ends before the epoch that would not fit into `--minutes` and returns 75
(EX_TEMPFAIL) while there is more to do: type it again. Once everything is done it
returns 0. It always gets some work done: `--minutes=0` goes on by an epoch. A command
that is killed loses what is newer than the last checkpoint, ten epochs at most. On a
CPU neither makes a difference to a single bit of the result.

A run leaves, in `<output>/<row>/seed_<n>`: `record.json`, `evaluation.json`,
`weights_float16.npz` and `classifier.keras`. What is scored are the weights of that
file, half as large as the network: whoever has it can measure again what the record
says (`load_classifier`).
"""

import dataclasses
import datetime
import os
import pathlib
import shlex
import shutil
import time

import keras
import numpy as np
from absl import app, flags, logging

from apps.start import start
from nfm_keras import data, evaluation, records, training
from nfm_keras.experiments import tables as experiments
from nfm_keras.experiments.experiment import runs
from nfm_keras.mixing.sites import remove_sites
from nfm_keras.records import evaluation as results
from nfm_keras.training import checkpoints
from nfm_keras.training.config import PRECISIONS
from nfm_keras.training.resident import (
    compile_epoch,
    limited,
    pack,
    save_arrays,
    unpack,
)

FULL = {
    "width": 1.0,
    "epochs": 200,
    "batch_size": 128,
    "precision": "mixed_bfloat16",
    "limit": None,
    "eval_every": 10,
}
"""Full scale. A run is validated and checkpointed every `eval_every` epochs."""

PERTURBATIONS = ("clean", "white_noise", "salt_and_pepper")
WEIGHTS = "weights_float16.npz"
_BATCH = 1000  # of validation and scores
_MIXING = ("alpha_schedule", "noise_schedule", "off_epoch")
_LEFT_OUT = (*_MIXING, "policy", "validation", "ema", "steps_per_execution")
_PACK = flags.DEFINE_string("pack", None, "Write the images to this file, and stop.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Of TensorFlow Datasets, to pack.")
_DATA = flags.DEFINE_string("data", None, "File of images that --pack wrote.")
_OUTPUT = flags.DEFINE_string("output", "results/full_table1", "Folder of the runs.")
_MINUTES = flags.DEFINE_float("minutes", 9.0, "Begin nothing that would end later.")
_ROWS = flags.DEFINE_list("rows", None, "Rows of the table; by default all.")
_SEEDS = flags.DEFINE_list("seeds", None, "Seeds; by default the table's.")
_SCALE = {
    "epochs": flags.DEFINE_integer("epochs", FULL["epochs"], "Length of a run."),
    "width": flags.DEFINE_float("width", FULL["width"], "Width of the network."),
    "limit": flags.DEFINE_integer("limit", None, "So many images only."),
    "batch_size": flags.DEFINE_integer("batch_size", FULL["batch_size"], "In a step."),
    "precision": flags.DEFINE_enum(
        "precision", FULL["precision"], PRECISIONS, "Of the training."
    ),
}


class Budget:
    """The time that one command has; its first piece of work is always granted.

    Args:
        minutes: How many.
    """

    def __init__(self, minutes):
        self._end = time.monotonic() + 60 * minutes
        self._worked = False

    def allows(self, seconds=0.0) -> bool:
        """Whether there is time for a piece of work that takes `seconds`."""
        return not self._worked or time.monotonic() + seconds < self._end

    def spend(self):
        """Says that a piece of work was done."""
        self._worked = True


def plan(experiment, output, rows=None, seeds=None, **scale):
    """Lists the runs of an experiment at full scale.

    Args:
        experiment: `nfm_keras.experiments.experiment.Experiment`.
        output: Folder of all runs.
        rows: Names of rows; `None` for all.
        seeds: Integers; `None` for the experiment's.
        **scale: Replaces values of `FULL`.

    Returns:
        List of `nfm_keras.experiments.experiment.Run`, seed by seed.

    Raises:
        ValueError: For an unknown row, or a setting that is left out here.
    """
    experiment = experiment.scaled(rows=rows, **FULL | scale)
    if seeds is not None:
        experiment = dataclasses.replace(experiment, seeds=tuple(map(int, seeds)))
    found = runs(experiment, output)
    for run in found:
        _check_supported(run.config)
    return found


def carry_out(todo, splits, minutes) -> bool:
    """Trains and scores run after run, as far as the time goes.

    Args:
        todo: From `plan`.
        splits: From `unpack`.
        minutes: Time for this call.

    Returns:
        Whether all runs are done. What is left is printed.

    Raises:
        ValueError: For a folder that holds a run with another config.
    """
    done = [run for run in todo if run.record]
    rates = {run.row: run.record.seconds / run.config.epochs for run in done}
    budget = Budget(minutes)
    left = [run for run in todo if run not in done]
    while left and budget.allows():
        if not _go_on(left[0], splits, budget, rates):
            break
        left.pop(0)
    print(_outlook(left, len(todo), rates), flush=True)
    return not left


def save_weights(network, path):
    """Writes the weights of a network, kernels in float16.

    What has one axis, biases and all of a batch norm, stays float32: it is small, and a
    variance may be beyond float16.
    """
    arrays = network.get_weights()
    halves = [a.astype("float16") if a.ndim > 1 else a for a in arrays]
    save_arrays(path, {f"{i:04d}": array for i, array in enumerate(halves)})


def load_weights(network, path):
    """Puts back into a network what `save_weights` wrote.

    Raises:
        ValueError: If the weights are those of another network.
    """
    with np.load(path) as file:
        network.set_weights([file[name].astype("float32") for name in sorted(file)])


def load_classifier(folder) -> keras.Model:
    """Loads the classifier of a run that is done, in float32.

    Args:
        folder: Folder of the run, with `record.json` and `weights_float16.npz`.

    Returns:
        Plain functional model from [0, 1] images to logits: what was scored.

    Example:

    >>> network = load_classifier("results/full_table1/nfm/seed_0")  # doctest: +SKIP
    >>> network.save("classifier.keras")  # doctest: +SKIP
    """
    folder = pathlib.Path(folder)
    config = records.load(folder / records.FILE).config
    return _classifier(training.Config(**config), folder / WEIGHTS)


def keep_programs(folder):
    """Keeps compiled programs in a folder, for this process and those after it.

    Raises:
        RuntimeError: On another backend than JAX.
    """
    if keras.backend.backend() != "jax":
        raise RuntimeError(
            "Full scale runs on the JAX backend: set KERAS_BACKEND=jax. "
            f"Received: {keras.backend.backend()!r}"
        )
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))


class _Checkpoint(checkpoints.Checkpoint):
    """Logs every epoch and writes some of them."""

    is_due = True

    def _write(self, epoch, step=0):
        if self.is_due:
            super()._write(epoch, step)


def _go_on(run, splits, budget, rates):
    """One run, from its newest checkpoint; returns whether it got to its record."""
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    keras.utils.clear_session()
    keras.utils.set_random_seed(run.config.seed)
    config, network = training.resolve(run.config)
    training.check_folder(run.folder, config, resume=True)
    train, _, test = limited(splits, config.limit)
    steps = data.steps_per_epoch(train, config.batch_size)
    model = training.compile_model(config, network, steps)
    folder = run.folder / training.CHECKPOINTS
    state = checkpoints.restore(model, folder, config.to_json())
    records.write_json(run.folder / training.CONFIG, config.to_json())
    keeper = _Checkpoint(folder, state=state, config=config.to_json())
    keeper.set_model(model)
    epochs = range(state["epoch"] if state else 0, config.epochs)
    parts = train, test
    fitted = not epochs or _fit(model, run, config, parts, epochs, keeper, budget)
    rates[run.row] = keeper.seconds / len(keeper.history["loss"])
    if not fitted:
        return False
    _finish(run, config, model, test, keeper, started)
    budget.spend()
    return True


def _fit(model, run, config, splits, epochs, keeper, budget):
    """Trains epoch by epoch; returns whether there is time to score the result."""
    train, test = splits
    # Builds optimiser and metrics, which are part of a step's state.
    model.optimizer.build(model.trainable_variables)
    _validate(model, test)
    train_epoch = compile_epoch(model, train, config)
    for epoch in epochs:
        keeper.on_epoch_begin(epoch)
        begun = time.monotonic()
        logs = train_epoch(epoch)
        seconds = time.monotonic() - begun
        budget.spend()
        stops = not budget.allows(seconds)
        counts = (epoch + 1) % config.eval_every == 0 or epoch + 1 == config.epochs
        logs |= _validate(model, test) if counts else {}
        keeper.is_due = counts or stops
        keeper.on_epoch_end(epoch, logs)
        print(_line(run, epoch + 1, logs, len(train.images) / seconds), flush=True)
        if stops:
            return False
    return True


def _finish(run, config, model, test, keeper, started):
    """Scores what is kept of the network, and writes the record."""
    save_weights(model.model, run.folder / WEIGHTS)
    classifier = _classifier(config, run.folder / WEIGHTS)
    classifier.save(run.folder / training.CLASSIFIER)
    command = _command(run)
    scores = evaluation.evaluate(
        classifier,
        test,
        PERTURBATIONS,
        batch_size=_BATCH,
        progress=lambda score, left: print(evaluation.line(score, left), flush=True),
        store=run.folder / results.FILE,
        about={"model": run.name, "dataset": config.dataset, "command": command},
    )
    about = run.folder, config, model.model, keeper, started, command
    record = training.to_record(*about, scores)
    records.save(record, run.folder / records.FILE)
    shutil.rmtree(keeper.folder)


def _classifier(config, path):
    policy = keras.config.dtype_policy()
    try:
        float32 = dataclasses.replace(config, precision="float32")
        _, network = training.resolve(float32)
    finally:
        keras.config.set_dtype_policy(policy)
    load_weights(network, path)
    return remove_sites(network)


def _validate(model, split):
    found = model.evaluate(
        split.images, split.labels, batch_size=_BATCH, verbose=0, return_dict=True
    )
    return {f"val_{name}": value for name, value in found.items()}


def _check_supported(config):
    for name in _LEFT_OUT:
        wanted, received = getattr(training.Config, name), getattr(config, name)
        if received != wanted:
            raise ValueError(
                f"`{name}` must be {wanted} at full scale. Received: {received!r}"
            )


def _command(run):
    scale = {name: getattr(run.config, name) for name in _SCALE}
    given = {"rows": run.row, "seeds": run.config.seed}
    given |= {name: value for name, value in scale.items() if value != FULL[name]}
    options = [f"--{name}={value}" for name, value in given.items()]
    command = shlex.join(["python", "-m", "benchmarks.full_table1", *options])
    return f"KERAS_BACKEND=jax {command}"


def _line(run, epoch, logs, speed):
    numbers = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
    place = f"{run.name}  epoch {epoch}/{run.config.epochs}"
    return f"{place}  {numbers}  {speed:,.0f} images/s"


def _epochs_left(run):
    found = (run.folder / training.CHECKPOINTS).glob("[0-9]*")
    return run.config.epochs - max((int(path.name) for path in found), default=0)


def _outlook(left, count, rates):
    """What is left to do, and how long its training will take."""
    text = f"{count - len(left)} of {count} runs are done."
    if not left:
        return text
    epochs = {run.name: _epochs_left(run) for run in left}
    # A row that was never at work takes as long as the others, roughly.
    usual = sum(rates.values()) / max(len(rates), 1)
    seconds = sum(epochs[run.name] * rates.get(run.row, usual) for run in left)
    names = ", ".join(f"{name} ({n or 'no'} epochs)" for name, n in epochs.items())
    return f"{text} Left: {names}. Training takes about {seconds / 60:.0f} min more."


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    table = experiments.load("table1")
    dataset = table.settings["dataset"]
    if _PACK.value:
        return pack(_PACK.value, dataset, _DATA_DIR.value)
    if not _DATA.value:
        raise app.UsageError("Give the file of images, --data, or make it with --pack.")
    keep_programs(pathlib.Path(_OUTPUT.value, ".cache"))
    scale = {name: flag.value for name, flag in _SCALE.items()}
    todo = plan(table, _OUTPUT.value, _ROWS.value, _SEEDS.value, **scale)
    done = carry_out(todo, unpack(_DATA.value, dataset), _MINUTES.value)
    return 0 if done else os.EX_TEMPFAIL


if __name__ == "__main__":
    start(main)
