"""Score a trained classifier: clean, noisy and attacked.

    python -m apps.evaluate --run=runs/nfm-0
    python -m apps.evaluate --model=my.keras --dataset=cifar10 --protocol=pixel \\
        --perturbations=clean,white_noise,salt_and_pepper@0.04,pgd@8/255

Prints a line a score. With `--run` the scores go into the run's record, where a row
replaces an older one of the same perturbation, protocol and settings.
"""

import dataclasses
import pathlib

import keras
from absl import app, flags

from nfm_keras import data, evaluation, perturbations, records

_RUN = flags.DEFINE_string("run", None, "Folder of a run, as apps.train leaves it.")
_MODEL = flags.DEFINE_string("model", None, "Keras file of a classifier instead.")
_DATASET = flags.DEFINE_string("dataset", None, "Data set; by default the run's.")
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
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write the scores to.")
flags.register_validator(
    "run",
    lambda run: bool(run or (_MODEL.value and _DATASET.value)),
    "give --run, or both --model and --dataset",
)


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    run = pathlib.Path(_RUN.value or "")
    record = records.load(run / records.FILE) if _RUN.value else None
    scores = evaluation.evaluate(
        keras.saving.load_model(_MODEL.value or run / "classifier.keras"),
        data.load(_DATASET.value or record.dataset, data_dir=_DATA_DIR.value).test,
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
        progress=lambda score: print(evaluation.line(score), flush=True),
    )
    if record is not None:
        # Read again: another evaluation may have written while this one ran.
        record = records.load(run / records.FILE)
        merged = evaluation.merge(record.scores, scores)
        records.save(dataclasses.replace(record, scores=merged), run / records.FILE)
    if _OUTPUT.value:
        records.write_json(_OUTPUT.value, [dataclasses.asdict(s) for s in scores])


if __name__ == "__main__":
    app.run(main)
