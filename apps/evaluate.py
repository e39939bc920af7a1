"""Scores trained classifiers: clean, noisy, corrupted and attacked.

    python -m apps.evaluate --run_dir=runs/nfm-0
    python -m apps.evaluate --run_dir=runs/erm,runs/nfm --suite=standard --output=report
    python -m apps.evaluate --model=resnet50.keras --dataset=imagenet_a
    python -m apps.evaluate --model=my.keras --dataset=cifar10 --protocol=pixel \\
        --perturbations=clean,white_noise,fog@3,pgd@8/255

`--import=MODULE` first imports the module that defines layers of a classifier's own.
Prints a line a score. What is finished is kept in `evaluation.json`, in the folder of
the run or, for `--model` (a Keras file or a SavedModel, as PATH or NAME=PATH), below
`--output`; the same command goes on from there. `--output` gets a report of all
classifiers side by side (report.md and comparison.html), with a paired test against the
first; it is evaluations/<data set> for a suite or a model unless told otherwise. With
`--transfer=pgd@8/255` the images that this attack makes with each classifier are scored
on all (`transfer.md`); `--save_adversaries=FOLDER` keeps the images of every attack.

    python -m apps.evaluate --run_dir=runs/a,runs/b --split=validation

scores the images that the runs held out (`--validation` of apps.train), to choose among
settings by their robustness without a look at the test images. Those scores are kept in
`validation.json`.
"""

import dataclasses
import pathlib
import re
import sys

from absl import app, flags, logging

from nfm_keras import attacks, data, evaluation, records, reports
from nfm_keras.evaluation import inputs
from nfm_keras.records.ids import PROTOCOLS, SUITES

from .import_flag import import_layers
from .loading import load_all, photographs_of
from .start import start, typed

_RUN = flags.DEFINE_list("run_dir", [], "Folders of runs, as apps.train leaves them.")
_MODEL = flags.DEFINE_list(
    "model", [], "Keras files or SavedModels, besides or instead: PATH or NAME=PATH."
)
_DATASET = flags.DEFINE_string("dataset", None, "Data set; by default that of the run.")
_SUITE = flags.DEFINE_enum("suite", None, SUITES, "A suite of rows.")
_PERTURBATIONS = flags.DEFINE_list(
    "perturbations",
    None,
    "Ids instead of a suite; a bare noise is its curve. By default clean, both noises, "
    "FGSM and PGD at 8/255.",
)
_PROTOCOL = flags.DEFINE_enum(
    "protocol", "reference", PROTOCOLS, "How the noises are defined."
)
_PGD_STEPS = flags.DEFINE_integer("pgd_steps", None, "Of PGD: 7; 20 or 50 in suites.")
_PGD_STEP_SIZE = flags.DEFINE_float(
    "pgd_step_size", None, "In [0,1] pixels; by default 2.5 * epsilon / steps."
)
_PGD_RESTARTS = flags.DEFINE_integer("pgd_restarts", None, "Random starts of PGD.")
_ATTACK_LIMIT = flags.DEFINE_integer("attack_limit", None, "Attack the first N only.")
_CORRUPTION_LIMIT = flags.DEFINE_integer(
    "corruption_limit", None, "Corrupt the first N images only."
)
_LIMIT = flags.DEFINE_integer("limit", None, "Score the first N images only.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 250, "Images at a time.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of noises and random starts.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data sets are.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download a data set not there.")
_CACHE = flags.DEFINE_string("cache_dir", None, "Folder to keep corrupted images in.")
_OFFICIAL = flags.DEFINE_string("official", None, "Folder of the official images.")
_FROST = flags.DEFINE_string("frost_dir", None, "Folder of frost textures.")
_JPEG = flags.DEFINE_bool(
    "jpeg",
    None,
    "Whether corruptions end as a JPEG; by default those with ImageNet's constants do.",
)
_STOCHASTIC = flags.DEFINE_bool(
    "allow_stochastic", False, "Accept a classifier that stays random."
)
_PROBABILITIES = flags.DEFINE_bool(
    "probabilities",
    None,
    "Whether the classifiers give probabilities, not logits; a Keras file shows it.",
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Side of photographs; by default the run's, or the model's."
)
_EVAL_CROP = flags.DEFINE_float(
    "eval_crop", None, "Share of a photograph's shorter side; by default the run's."
)
_VALIDATION = flags.DEFINE_integer(
    "validation", None, "Images that training held out, of a folder without others."
)
_SPLIT = flags.DEFINE_enum(
    "split", "test", ["test", "validation"], "Images to score: to test on, or held out."
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "End at a photograph that cannot be read, not pass over it."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the report.")
_SAVE = flags.DEFINE_string(
    "save_adversaries", None, "Folder to keep the images that attacks find in."
)
_TRANSFER = flags.DEFINE_string(
    "transfer", None, "Id of an attack: its images of each classifier, on all others."
)
_MODEL_OUTPUT = flags.DEFINE_string(
    "model_output", None, "Name of the output that holds the logits, of several."
)
flags.declare_key_flag("import")
flags.register_multi_flags_validator(
    ["run_dir", "model", "dataset"],
    # A run knows its data set; scores of another one do not belong in its record.
    lambda given: (
        (
            bool(given["model"]) == bool(given["dataset"])
            if not given["run_dir"]
            else not given["dataset"]
        )
        and bool(given["run_dir"] or given["model"])
    ),
    "give --run_dir alone or with --model, or else both --model and --dataset",
)
flags.mark_flags_as_mutual_exclusive(["suite", "perturbations"])


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    # Here, so that the help does not wait for NumPy.
    from nfm_keras.evaluation.noise import check_id

    for text in [*(_PERTURBATIONS.value or ()), *filter(None, [_TRANSFER.value])]:
        check_id(text)  # before anything is loaded
    if _TRANSFER.value and len(_RUN.value) + len(_MODEL.value) < 2:
        raise ValueError("--transfer needs two classifiers or more. Received: one")
    import_layers()
    loaded = [
        one._replace(classifier=inputs.pick(one.classifier, _MODEL_OUTPUT.value))
        for one in load_all(_RUN.value, _MODEL.value)
    ]
    if _TRANSFER.value:
        attacks.from_perturbation(_TRANSFER.value)  # refuses an id before all is scored
    dataset = _DATASET.value or evaluation.classifiers.common_dataset(loaded)
    test = _images(dataset, loaded)
    folder = _OUTPUT.value
    if not folder and (_SUITE.value or _MODEL.value):
        folder = f"evaluations/{re.sub(r'[^A-Za-z0-9_.-]+', '_', dataset)}"
    loaded = [
        one._replace(classifier=_prepared(one.classifier, test)) for one in loaded
    ]
    evaluations = [_evaluate(classifier, test, folder) for classifier in loaded]
    _print_errors(evaluations)
    if folder:
        _report(loaded, evaluations, test, folder)
    if _TRANSFER.value:
        _transfer(loaded, test, folder)


def _images(dataset, loaded):
    """The images to score: to test on, or those that all runs held out."""
    place = _DATA_DIR.value, _DOWNLOAD.value
    if _SPLIT.value == "test":
        return data.load_test(
            dataset, photographs_of(loaded, _given()), *place, **_given()
        )
    configs = [one.record.config if one.record else {} for one in loaded]
    held_out = {(c.get("limit"), c.get("validation") or 0) for c in configs}
    limit, count = next(iter(held_out))
    if len(held_out) > 1 or not count:
        raise ValueError(
            "--split=validation needs runs that held out the same images, by "
            "--validation of nfm-train. Received: (limit, validation) of "
            f"{sorted(held_out, key=str)}"
        )
    names = "image_size", "eval_crop", "antialias"
    reading = {n: configs[0][n] for n in names if configs[0].get(n) is not None}
    return data.load(dataset, *place, limit, count, **reading).validation


def _called(spec):
    """What the images are called in scores and reports."""
    return spec.name if _SPLIT.value == "test" else f"{spec.name}, held out"


def _prepared(classifier, test):
    """The classifier as everything below takes it: what is compiled is kept in it."""
    from nfm_keras.backend.classifier import PlainClassifier

    cut = inputs.cut_to(classifier, test.spec, _from_logits())
    return PlainClassifier(cut, _from_logits())


def _given():
    """What the flags say of photographs."""
    flag_values = {
        "image_size": _IMAGE_SIZE.value,
        "eval_crop": _EVAL_CROP.value,
        "validation": _VALIDATION.value,
        "strict": _STRICT.value or None,
    }
    return {name: value for name, value in flag_values.items() if value is not None}


def _suite():
    """The suite of the flags: a named one, or a list of perturbations."""
    if _SUITE.value:
        suite = evaluation.SUITES[_SUITE.value]
    else:
        suite = evaluation.Suite(_PERTURBATIONS.value or evaluation.DEFAULT)
    pgd = {
        "steps": _PGD_STEPS.value,
        "step_size": _PGD_STEP_SIZE.value,
        "restarts": _PGD_RESTARTS.value,
    }
    given = {name: value for name, value in pgd.items() if value is not None}
    limits = {"limit": _LIMIT.value, "attack_limit": _ATTACK_LIMIT.value}
    return dataclasses.replace(
        suite,
        **{name: value for name, value in limits.items() if value is not None},
        attack_settings=suite.attack_settings | given,
        corruption_limit=_CORRUPTION_LIMIT.value,
        cache_dir=_CACHE.value,
        official=_OFFICIAL.value,
        frost_dir=_FROST.value,
        jpeg=_JPEG.value,
    )


def _from_logits():
    return None if _PROBABILITIES.value is None else not _PROBABILITIES.value


def _evaluate(loaded, test, folder):
    print(f"{loaded.name} on {_called(test.spec)}", flush=True)
    return evaluation.evaluate(
        loaded.classifier,
        test,
        suite=_suite(),
        protocol=_PROTOCOL.value,
        seed=_SEED.value,
        batch_size=_BATCH_SIZE.value,
        progress=lambda score, left: print(evaluation.line(score, left), flush=True),
        store=pathlib.Path(loaded.run or pathlib.Path(folder, loaded.name))
        / records.EVALUATION_FILES[_SPLIT.value],
        save_adversaries=_SAVE.value and pathlib.Path(_SAVE.value, loaded.name),
        allow_stochastic=_STOCHASTIC.value,
        from_logits=_from_logits(),
        about={
            "model": loaded.name,
            "dataset": _called(test.spec),
            "command": typed("evaluate", sys.argv[1:]),
        },
    )


def _transfer(loaded, test, folder):
    """The matrix of adversarial images of each classifier on each other one."""
    suite = _suite()
    found = evaluation.adversaries.transfer(
        {one.name: one.classifier for one in loaded},
        test,
        _TRANSFER.value,
        limit=suite.attack_limit or suite.limit,
        seed=_SEED.value,
        batch_size=_BATCH_SIZE.value,
        from_logits=_from_logits(),
    )
    print(found.to_markdown())
    if folder:
        records.write_text(pathlib.Path(folder, "transfer.md"), found.to_markdown())


def _print_errors(evaluations):
    # Here, as below, so that the help does not wait for NumPy.
    from nfm_keras.reports.boards import corruption_errors

    for each in evaluations:
        for line in corruption_errors.lines(each):
            print(f"{each.model}: {line}")


def _report(loaded, evaluations, test, folder):
    from nfm_keras.reports.pages import temperature

    reports.pictures.samples(test.images, folder, frost_dir=_FROST.value)
    for one in loaded:
        drawing = pathlib.Path(folder, reports.suite.adversaries_file(one.name))
        given = {"name": one.name, "from_logits": _from_logits()}
        reports.pictures.adversaries(one.classifier, test, drawing, **given)
    limit = _suite().limit
    part = test if limit is None else test.subset(slice(limit))
    given = {"from_logits": _from_logits(), "batch_size": _BATCH_SIZE.value}
    if _SPLIT.value == "test":  # it is fitted on the others
        text = temperature.section(loaded, part, _DATA_DIR.value, **given)
        records.write_text(pathlib.Path(folder, "temperature.md"), text + "\n")
    path = reports.suite.write(evaluations, folder)
    print(f"Report: {path} and {path.with_name(reports.suite.PAGE).name}")


def run():
    """The command `nfm-evaluate`."""
    start(main, "finished rows are kept: the same command goes on")


if __name__ == "__main__":
    run()
