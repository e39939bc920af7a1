"""Draws images that activate units of classifiers most, side by side in one picture.

    python -m apps.visualize --run_dir=runs/erm,runs/nfm --output=features.png
    python -m apps.visualize --model=nfm=savedmodels/cifar10_nfm/2 --of=logits \\
        --dataset=cifar10 --units=0,1,2,3,4,5,6,7,8,9

Figure 12 of the paper: from one noisy grey image, 200 steps of projected gradient
ascent of length 16 in an l2 ball of radius 2,000, on the scale of [0, 255], maximise
what chosen units give. Units are those that the last layer takes (`--of=features`, of
runs and Keras files), chosen at random unless `--units` names them, or the logits of
the classes. The number under an image is the activation reached.
"""

from absl import app, flags, logging

from .import_flag import import_layers
from .loading import load_all
from .start import say, start

_RUN = flags.DEFINE_list("run_dir", [], "Folders of runs, as apps.train leaves them.")
_MODEL = flags.DEFINE_list(
    "model", [], "Keras files or SavedModels, besides or instead: PATH or NAME=PATH."
)
_OF = flags.DEFINE_enum("of", "features", ("features", "logits"), "What is activated.")
_DATASET = flags.DEFINE_string(
    "dataset", None, "Data set whose classes the logits are; by default a run's."
)
_UNITS = flags.DEFINE_list("units", None, "Numbers of the units.")
_COUNT = flags.DEFINE_integer(
    "count", 8, "How many units, if none are named.", lower_bound=1
)
_STEPS = flags.DEFINE_integer("steps", 200, "Steps of the ascent.", lower_bound=1)
_STEP_SIZE = flags.DEFINE_float(
    "step_size", 16, "Length of a step, of [0, 255].", lower_bound=0
)
_RADIUS = flags.DEFINE_float(
    "radius", 2000, "Radius of the l2 ball, of [0, 255].", lower_bound=0
)
_SIDE = flags.DEFINE_integer(
    "image_size", None, "Side of images, of a model of any.", lower_bound=1
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the first image and of the units.", lower_bound=0
)
_OUTPUT = flags.DEFINE_string("output", "features.png", "PNG, PDF or SVG to write.")
flags.declare_key_flag("import")


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    if not (_RUN.value or _MODEL.value):
        raise app.UsageError("Give --run_dir or --model.")
    logging.set_verbosity(logging.ERROR)
    import_layers()
    loaded = load_all(_RUN.value, _MODEL.value)
    # Here, so that the help and a path that is not there do not wait for Keras.
    from nfm_keras.figures.base import check_ending
    from nfm_keras.reports import pictures

    check_ending(_OUTPUT.value)  # before the ascent
    drawn = pictures.activations(
        {one.name: one.classifier for one in loaded},
        _OUTPUT.value,
        kind=_OF.value,
        units=_UNITS.value and list(map(_number, _UNITS.value)),
        count=_COUNT.value,
        image_size=_SIDE.value,
        seed=_SEED.value,
        classes=_classes(loaded) if _OF.value == "logits" else None,
        steps=_STEPS.value,
        step_size=_STEP_SIZE.value / 255,
        epsilon=_RADIUS.value / 255,
    )
    for name, found in drawn.items():
        reached = " ".join(f"{value:.3g}" for value in found.after)
        print(f"{name}: {reached}", flush=True)
    drawn_units = len(next(iter(drawn.values())).after)
    if not _UNITS.value and drawn_units < _COUNT.value:
        say(f"{drawn_units} units can be activated in all. Asked for: {_COUNT.value}")
    print(_OUTPUT.value)


def _number(unit):
    if not unit.isdecimal():
        raise ValueError(
            f"`--units` must be whole numbers with commas between. Received: {unit!r}"
        )
    return int(unit)


def _classes(loaded):
    """Names of the classes, as far as they are known."""
    from nfm_keras import data
    from nfm_keras.data.own import spec_of_name
    from nfm_keras.data.photographs import catalogue
    from nfm_keras.evaluation import classifiers

    if _DATASET.value:
        if data.is_photographs(_DATASET.value):
            return catalogue.classes_of(_DATASET.value)
        return spec_of_name(_DATASET.value).classes
    records = [one.record for one in loaded if one.record]
    if not records:
        return None
    dataset = classifiers.common_dataset(loaded)
    if dataset in data.SPECS:
        return data.spec(dataset).classes
    return records[0].config.get("classes")


def run():
    """The command `nfm-visualize`."""
    start(main)


if __name__ == "__main__":
    run()
