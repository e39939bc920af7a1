"""Exports a trained classifier as a SavedModel for TensorFlow Serving, or as a file.

    python -m apps.export --run_dir=runs/nfm --name=cifar10_nfm

writes savedmodels/cifar10_nfm/<next version>/ from runs/nfm/classifier.keras, with
the run's record and evaluation inside; with `--best` from runs/nfm/best.keras, which a
run with `--save_best` keeps. `--model=PATH.keras` exports any Keras classifier instead,
`--model=NAME=PATH.keras` names it too, and those two files of a run come with its
record; `--import=MODULE` first imports the module that defines layers of its own.
`--float16` stores the weights in half precision, `--features` adds a signature that
gives the input of the last layer. `--format=litert` writes savedmodels/NAME.tflite
instead, `--format=onnx` savedmodels/NAME.onnx (needs the packages onnx and tf2onnx).
"""

import dataclasses
import pathlib
import re

from absl import app, flags, logging

from nfm_keras import data, evaluation, records, serving, training

from .import_flag import import_layers
from .start import start

_RUN = flags.DEFINE_string("run_dir", None, "Folder of a training run.")
_BEST = flags.DEFINE_bool("best", False, "Export the best classifier of the run.")
_MODEL = flags.DEFINE_string(
    "model", None, "A .keras file, instead of a run: PATH or NAME=PATH."
)
_OUTPUT = flags.DEFINE_string("output", "savedmodels", "Folder of all models.")
_NAME = flags.DEFINE_string("name", None, "Name of the model, as clients ask for it.")
_VERSION = flags.DEFINE_integer("version", None, "Version; the next free one if unset.")
_FORMAT = flags.DEFINE_enum(
    "format", "saved_model", ["saved_model", "onnx", "litert"], "What to write."
)
_FEATURES = flags.DEFINE_bool("features", False, "Add the signature `features`.")
_FLOAT16 = flags.DEFINE_bool("float16", False, "Store the weights in half precision.")
flags.declare_key_flag("import")
flags.register_validator(
    "name",
    lambda name: name is None or re.fullmatch(r"[A-Za-z0-9][\w.-]*", name),
    "must be one word of letters, digits, _, - and ., as in savedmodels/NAME",
)
flags.mark_flags_as_mutual_exclusive(["run_dir", "model"], required=True)
flags.register_multi_flags_validator(
    ["run_dir", "best"],
    lambda given: given["run_dir"] or not given["best"],
    "--best is of --run_dir",
)
flags.register_multi_flags_validator(
    ["format", "version", "features", "float16"],
    lambda given: (
        given["format"] == "saved_model"
        or not (given["version"] or given["features"] or given["float16"])
    ),
    "--version, --features and --float16 are of --format=saved_model",
)


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    given, file = evaluation.classifiers.named(_MODEL.value or "")
    name = _NAME.value or given
    if not name:
        raise app.UsageError("Give --name=NAME, or --model=NAME=PATH.")
    import_layers()
    file = _file(file)
    model, about = serving.load_model(file, compile=False), _about(file)
    path = pathlib.Path(_OUTPUT.value, name)
    if _FORMAT.value != "saved_model":
        print(serving.export_file(model, path, _FORMAT.value))
        return
    chosen = {"features": _FEATURES.value, "float16": _FLOAT16.value}
    print(serving.export(model, path, version=_VERSION.value, **chosen, **about))


def _file(model):
    """Returns the file to export: the one that is named, or that of the run."""
    if model:
        return pathlib.Path(model)
    folder = pathlib.Path(_RUN.value)
    record = records.load(folder / records.FILE)
    if _BEST.value and not record.best:
        raise ValueError(
            f"{folder} must be a run that kept its best classifier, as one trained "
            "with --save_best does. Received: --best of a run without one"
        )
    return folder / (training.BEST if _BEST.value else training.CLASSIFIER)


def _about(file):
    """Returns what the version folder is to say of a classifier, if it is a run's."""
    folder = file.parent
    is_runs = file.name in (training.BEST, training.CLASSIFIER)
    if not is_runs or not (folder / records.FILE).exists():
        return {}
    record = records.load(folder / records.FILE)
    about = {"record": record, "classes": _classes(record)}
    if file.name == training.BEST:  # the scores are those of the last classifier
        about["record"] = dataclasses.replace(record, scores=())
    elif (folder / records.EVALUATION_FILE).exists():
        about["evaluation"] = records.load_evaluation(folder / records.EVALUATION_FILE)
    return about


def _classes(record):
    """Those of the set; of photographs the run has noted them."""
    return record.config.get("classes") or data.spec_of_name(record.dataset).classes


def run():
    """The command `nfm-export`."""
    start(main)


if __name__ == "__main__":
    run()
