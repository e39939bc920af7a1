"""Trains the paper's toy: eight regularisers on two noisy circles.

    python -m apps.toy --output=runs/toy

writes OUTPUT/boundaries.png, table.md, table.csv, table.tex and toy.json; with
--seeds=20 the table says what is more than luck. What toy.json holds already is not
trained again.
"""

import pathlib
import sys

from absl import app, flags, logging

from nfm_keras.experiments.tables.toy import REGULARISERS, Settings, choose

from .start import start, typed

_OUTPUT = flags.DEFINE_string("output", None, "Folder of the results.", required=True)
_SEEDS = flags.DEFINE_integer("seeds", 1, "How many seeds.")
# Not 0: those from 0 to 2 and 100 to 105 were looked at to choose the length.
_FIRST_SEED = flags.DEFINE_integer("first_seed", 200, "The first, which is drawn.")
_SETTINGS = (
    flags.DEFINE_integer("epochs", Settings.epochs, "Epochs of a training."),
    flags.DEFINE_integer(
        "batch_size", Settings.batch_size, "Points a step, a divisor of 300."
    ),
    flags.DEFINE_float(
        "learning_rate", Settings.learning_rate, "Learning rate of Adam."
    ),
    flags.DEFINE_float("width", Settings.width, "Multiplies 64 units a layer."),
)
_REGULARISERS = flags.DEFINE_list(
    "regularizers", None, f"Some of {', '.join(REGULARISERS)}; by default all."
)
_FRAMES = flags.DEFINE_integer("frames", 0, "Steps that boundaries.gif shows.")


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    rows = choose(_REGULARISERS.value)
    # Here, so that the help does not wait for Keras.
    from nfm_keras.experiments.toy import report, toy

    toy.train_all(
        rows,
        _OUTPUT.value,
        Settings(*(flag.value for flag in _SETTINGS)),
        range(_FIRST_SEED.value, _FIRST_SEED.value + _SEEDS.value),
        frames=_FRAMES.value,
        command=typed("toy", sys.argv[1:]),
        tell=_tell,
    )
    report.write(_OUTPUT.value, _FIRST_SEED.value)
    folder = pathlib.Path(_OUTPUT.value)
    print("\n" + (folder / "table.md").read_text(encoding="utf-8"))
    print(f"Boundaries: {folder / 'boundaries.png'}")


def _tell(run):
    print(
        f"{run.regulariser}, seed {run.seed}: test {run.accuracy:.1f} %, "
        f"training {run.train_accuracy:.1f} %, {run.seconds:.1f} s",
        flush=True,
    )


def run():
    """The command `nfm-toy`."""
    start(main)


if __name__ == "__main__":
    run()
