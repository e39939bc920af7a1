"""Trains one network.

    python -m apps.train --scheme=nfm --dataset=digits --run_dir=runs/nfm

The defaults are the paper's for CIFAR; for the digits a small network and 30 epochs.
Prints the resolved config first, without what is not set, and the last epoch's numbers
at the end. Every field of the config is a flag. `--resume` goes on with a run that was
stopped, and with more `--epochs` than it had extends it; `--weights=FILE`, by its other
name `--init_from`, starts from weights; `--save_best=val_accuracy --validation=N` keeps
the best classifier too, chosen on images held out.
"""

import json

from absl import app, flags, logging

from nfm_keras import training
from nfm_keras.records import history
from nfm_keras.records.processor import slow_precision

from . import config_flags
from .start import say, start, typed

FLAGS = flags.FLAGS

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of the run.", required=True)
_RESUME = flags.DEFINE_bool("resume", False, "Go on from the newest checkpoint.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download a dataset not there.")
_VERBOSE = flags.DEFINE_enum("verbose", "1", ["0", "1", "2"], "As in Keras' fit.")
_BEST = flags.DEFINE_string(
    "save_best", None, "Keep the best by val_accuracy or val_loss, of --validation."
)
_SAVE_EVERY = flags.DEFINE_integer(
    "save_every", None, "Steps between checkpoints within an epoch.", lower_bound=1
)
_KEEP = flags.DEFINE_integer("keep", 2, "Checkpoints to keep.", lower_bound=1)
_TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "Write TensorBoard logs.")

_STRICT = flags.DEFINE_bool(
    "strict", False, "End at a photograph that cannot be read, not pass over it."
)
_CACHE = flags.DEFINE_enum(
    "cache", "none", ["none", "ram", "disk"], "Where photographs are kept when read."
)
_CACHE_DIR = flags.DEFINE_string("cache_dir", None, "Folder of --cache=disk.")
_WATCH = flags.DEFINE_string(
    "watch", None, "A noise such as white_noise@0.1 to measure the accuracy under."
)

_FIELDS = config_flags.define()
flags.DEFINE_alias("weights", "init_from")
flags.adopt_module_key_flags(config_flags)


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    config = config_flags.config(_FIELDS)
    # Before anything is computed: afterwards several processes cannot start together.
    training.distribution.start(config.distribution)
    try:
        record = _train(config)
    except training.RunStopped as stopped:
        say(f"{stopped}; go on with --resume")
        raise
    measured_on = record.measured_on or history.watched(record.config)
    measured = history.names(record.history, measured_on)
    last = {name: values[-1] for name, values in measured.items()}
    print(json.dumps({"run_dir": _RUN_DIR.value, "seconds": record.seconds} | last))


def _announce(config):
    given = {k: v for k, v in config.to_json().items() if v is not None}
    print(json.dumps(given, indent=1))
    say(slow_precision(config.precision, _accelerators()))


def _accelerators():
    # Here, so that the help does not wait for Keras.
    from nfm_keras.records.environment import environment

    _, hardware = environment()
    return hardware["accelerators"]


def _train(config):
    return training.train(
        config,
        _RUN_DIR.value,
        resume=_RESUME.value,
        data_dir=_DATA_DIR.value,
        download=_DOWNLOAD.value,
        command=_command(),
        verbose=int(_VERBOSE.value),
        tensorboard=_TENSORBOARD.value,
        watch=_WATCH.value,
        save_best=_BEST.value,
        save_every=_SAVE_EVERY.value,
        keep=_KEEP.value,
        strict=_STRICT.value,
        cache=_CACHE.value,
        cache_dir=_CACHE_DIR.value,
        announce=_announce,
    )


def _command():
    """Returns what to type to repeat the run from its start."""
    names = (*_FIELDS, "run_dir", "data_dir", "download", "watch", "save_best")
    given = [FLAGS[name].serialize() for name in names if FLAGS[name].present]
    return typed("train", given)


def run():
    """The command `nfm-train`."""
    start(main, "checkpoints are kept: go on with --resume")


if __name__ == "__main__":
    run()
