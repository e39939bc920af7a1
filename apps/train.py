"""Trains one network.

python -m apps.train --scheme=nfm --dataset=digits --network=small_resnet --epochs=30
"""

import dataclasses
import json
import shlex
import sys
import typing

from absl import app, flags, logging

from apps.start import start
from nfm_keras import training

FLAGS = flags.FLAGS

_RUN_DIR = flags.DEFINE_string("run_dir", None, "Folder of the run.", required=True)
_RESUME = flags.DEFINE_bool("resume", False, "Go on from the newest checkpoint.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download a dataset not there.")
_VERBOSE = flags.DEFINE_enum("verbose", "1", ["0", "1", "2"], "As in Keras' fit.")
_TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "Write TensorBoard logs.")

_DEFINE = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    tuple: flags.DEFINE_list,
}


def define_config():
    """Defines a flag for each field of the config."""
    hints = typing.get_type_hints(training.Config)
    for field in dataclasses.fields(training.Config):
        options = [t for t in typing.get_args(hints[field.name]) or [hints[field.name]]]
        kind = typing.get_origin(options[0]) or options[0]
        text = f"Config.{field.name} of nfm_keras.training."
        _DEFINE[kind](field.name, field.default, text)


define_config()


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    names = [field.name for field in dataclasses.fields(training.Config)]
    config = training.Config(**{name: FLAGS[name].value for name in names})
    resolved, _ = training.resolve(config)
    print(json.dumps(resolved.to_json(), indent=1))
    record = training.train(
        config,
        _RUN_DIR.value,
        resume=_RESUME.value,
        data_dir=_DATA_DIR.value,
        download=_DOWNLOAD.value,
        command=_command(),
        verbose=int(_VERBOSE.value),
        tensorboard=_TENSORBOARD.value,
    )
    last = {name: values[-1] for name, values in record.history.items()}
    print(json.dumps({"run_dir": _RUN_DIR.value, "seconds": record.seconds} | last))


def _command():
    """What to type to repeat the run from its start."""
    passing = ("--resume", "--verbose")
    given = [flag for flag in sys.argv[1:] if not flag.startswith(passing)]
    return shlex.join(["python", "-m", "apps.train", *given])


if __name__ == "__main__":
    start(main)
