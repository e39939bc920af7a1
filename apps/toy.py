"""Trains the paper's toy: eight regularisers on two noisy circles.

    python -m apps.toy --output=runs/toy

writes OUTPUT/boundaries.png, table.md, table.csv, table.tex and toy.json; with
--seeds=20 the table says what is more than luck. What toy.json holds already is not
trained again.
"""

import pathlib
import shlex
import sys

from absl import app, flags, logging

from nfm_keras.experiments.tables.toy import REGULARISERS
from nfm_keras.experiments.toy import report as toy_reports
from nfm_keras.experiments.toy import toy
from nfm_keras.experiments.toy import training as toy_training

from .start import start

_DEFAULTS = toy_training.Settings()
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the results.", required=True)
_SEEDS = flags.DEFINE_integer("seeds", 1, "How many seeds.")
# Not 0: those from 0 to 2 and 100 to 105 were looked at to choose the length.
_FIRST_SEED = flags.DEFINE_integer("first_seed", 200, "The first, which is drawn.")
_EPOCHS = flags.DEFINE_integer("epochs", _DEFAULTS.epochs, "Epochs of a training.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", _DEFAULTS.batch_size, "Points a step, a divisor of 300."
)
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", _DEFAULTS.learning_rate, "Learning rate of Adam."
)
_WIDTH = flags.DEFINE_float("width", _DEFAULTS.width, "Multiplies 64 units a layer.")
_REGULARISERS = flags.DEFINE_list(
    "regularisers", None, f"Some of {', '.join(REGULARISERS)}; by default all."
)
_FRAMES = flags.DEFINE_integer("frames", 0, "Steps that boundaries.gif shows.")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    toy.run(
        toy.choose(REGULARISERS, _REGULARISERS.value),
        _OUTPUT.value,
        toy_training.Settings(
            _EPOCHS.value, _BATCH_SIZE.value, _LEARNING_RATE.value, _WIDTH.value
        ),
        range(_FIRST_SEED.value, _FIRST_SEED.value + _SEEDS.value),
        frames=_FRAMES.value,
        command=shlex.join(["python", "-m", "apps.toy", *sys.argv[1:]]),
        tell=lambda line: print(line, flush=True),
    )
    toy_reports.write(_OUTPUT.value, _FIRST_SEED.value)
    folder = pathlib.Path(_OUTPUT.value)
    print("\n" + (folder / "table.md").read_text(encoding="utf-8"))
    print(f"Boundaries: {folder / 'boundaries.png'}")


if __name__ == "__main__":
    start(main)
