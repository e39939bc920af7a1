"""Trains Table 1 at full scale, with JAX alone, on one accelerator, a slice at a time.

    python -m apps.full_table1 --pack=carried/cifar10
    KERAS_BACKEND=jax python -m apps.full_table1 --data=carried/cifar10 \\
        --output=results/full_table1 --minutes=9

Every row and seed of the experiment `table1`, nfm and erm first: PreActResNet-18 at
width 1, 200 epochs in mixed_bfloat16, batches of 128; scored clean, under white noise
and salt and pepper. The first command needs TensorFlow Datasets. It writes the images
in parts of at most 40 MB, lossless, and lists what else has to be carried to a machine
without a network. The second needs JAX, NumPy, Pillow and Keras and no TensorFlow, and
names a part that is missing, damaged or of another set.

A command ends before the epoch that would not fit into `--minutes` and returns 75
(EX_TEMPFAIL) while there is more to do: type it again. Once everything is done it
returns 0. It always gets some work done: `--minutes=0` goes on by an epoch. A command
that is killed loses what is newer than the last checkpoint, ten epochs at most. The
compiled programs stay in OUTPUT/.cache, each run in OUTPUT/<row>/seed_<n>.
"""

import os
import pathlib

from absl import app, flags, logging

from nfm_keras import experiments
from nfm_keras.experiments import FULL
from nfm_keras.training.config import PRECISIONS

from .start import start

_PACK = flags.DEFINE_string("pack", None, "Write the images to this folder, and stop.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Of TensorFlow Datasets, to pack.")
_DATA = flags.DEFINE_string("data", None, "Folder of images that --pack wrote.")
_OUTPUT = flags.DEFINE_string("output", "results/full_table1", "Folder of the runs.")
_MINUTES = flags.DEFINE_float("minutes", 9.0, "Begin nothing that would end later.")
_ROWS = flags.DEFINE_list("rows", None, "Rows of the table; by default all, nfm first.")
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


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    table = experiments.load("table1")
    dataset = table.settings["dataset"]
    if _PACK.value:
        parts = experiments.packing.pack(_PACK.value, dataset, _DATA_DIR.value)
        print(*experiments.packing.manifest(parts), sep="\n")
        return 0
    if not _DATA.value:
        raise app.UsageError("Give the folder of images, --data, or make it by --pack.")
    from nfm_keras.backend.jax_devices import keep_programs  # takes Keras

    keep_programs(pathlib.Path(_OUTPUT.value, ".cache"))
    scale = {name: flag.value for name, flag in _SCALE.items()}
    done = experiments.full_scale.carry_out(
        experiments.full_scale.plan(
            table, _OUTPUT.value, _ROWS.value, _SEEDS.value, **scale
        ),
        experiments.packing.unpack(_DATA.value, dataset),
        _MINUTES.value,
        command="KERAS_BACKEND=jax python -m apps.full_table1",
        tell=lambda line: print(line, flush=True),
    )
    return 0 if done else os.EX_TEMPFAIL


def run():
    """The command `nfm-full-table1`."""
    start(main)


if __name__ == "__main__":
    run()
