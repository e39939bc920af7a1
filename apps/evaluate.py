"""Score a trained classifier: clean, noisy and attacked.

    python -m apps.evaluate --run_dir=runs/nfm-0
    python -m apps.evaluate --model=my.keras --dataset=cifar10 --protocol=pixel \\
        --perturbations=clean,white_noise,salt_and_pepper@0.04,pgd@8/255

Prints a line a score. With `--run_dir` the scores go into the run's record, where a row
replaces an older one of the same perturbation, protocol and settings.
"""

import dataclasses
import pathlib
import sys

import keras
from absl import app, flags, logging

from nfm_keras import data, evaluation, perturbations, records, training

_RUN = flags.DEFINE_string("run_dir", None, "Folder of a run, as apps.train leaves it.")
_MODEL = flags.DEFINE_string("model", None, "Keras file of a classifier instead.")
_DATASET = flags.DEFINE_string("dataset", None, "Its data set.")
_PERTURBATIONS = flags.DEFINE_list(
    "perturbations", list(perturbations.DEFAULT), "Ids; a bare noise is its curve."
)
_PROTOCOL = flags.DEFINE_enum(
    "protocol", "reference", perturbations.PROTOCOLS, "How the noises are defined."
)
_PGD_STEPS = flags.DEFINE_integer("pgd_steps", 7, "Steps of PGD.")
_PGD_STEP_SIZE = flags.DEFINE_float(
    "pgd_step_size", None, "In [0,1] pixels; by default 2.5 * epsilon / steps."
)
_PGD_RESTARTS = flags.DEFINE_integer("pgd_restarts", 1, "Random starts of PGD.")
_ATTACK_LIMIT = flags.DEFINE_integer("attack_limit", None, "Attack so many images.")
_LIMIT = flags.DEFINE_integer("limit", None, "Use so many test images.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 250, "Images at a time.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of noises and random starts.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data sets are.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download a data set not there.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write the scores to.")
flags.register_multi_flags_validator(
    ["run_dir", "model", "dataset"],
    # A run knows its data set; scores of another one do not belong in its record.
    lambda given: (
        (bool(given["run_dir"]), bool(given["model"]), bool(given["dataset"]))
        in ((True, False, False), (False, True, True))
    ),
    "give --run_dir alone, or both --model and --dataset",
)


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    model = _MODEL.value or pathlib.Path(_RUN.value, training.CLASSIFIER)
    dataset = _DATASET.value or records.load(_record()).dataset
    scores = evaluation.evaluate(
        keras.saving.load_model(model, compile=False),
        data.load(dataset, _DATA_DIR.value, _DOWNLOAD.value).test,
        _PERTURBATIONS.value,
        protocol=_PROTOCOL.value,
        seed=_SEED.value,
        batch_size=_BATCH_SIZE.value,
        limit=_LIMIT.value,
        attack_limit=_ATTACK_LIMIT.value,
        attack_settings={
            "steps": _PGD_STEPS.value,
            "step_size": _PGD_STEP_SIZE.value,
            "restarts": _PGD_RESTARTS.value,
        },
        progress=_keep,
    )
    if _OUTPUT.value:
        records.write_json(_OUTPUT.value, [dataclasses.asdict(s) for s in scores])


def _record():
    return pathlib.Path(_RUN.value, records.FILE)


def _keep(score):
    """Print a score and write it at once, so that an interrupt loses none."""
    print(evaluation.line(score), flush=True)
    if _RUN.value:
        # Read again for each: another evaluation may be writing to the same run.
        record = records.load(_record())
        scores = evaluation.merge(record.scores, [score])
        records.save(dataclasses.replace(record, scores=scores), _record())


def run():
    """Runs the app; an error that says what is wrong needs no traceback."""
    try:
        app.run(main)
    except (ValueError, OSError) as error:
        sys.exit(f"evaluate: {error}")


if __name__ == "__main__":
    run()
