"""Trains, evaluates, reports and exports, on 1,797 real images of digits.

    python -m apps.demo --output=runs/demo

Four schemes of 30 epochs each; about a minute and a half on two cores. The curves
are in OUTPUT/curves.png, the exported model in OUTPUT/savedmodels.
"""

import dataclasses
import pathlib

import keras
from absl import app, flags, logging

from nfm_keras import data, evaluation, records, reports, training
from nfm_keras.serving.saved_model import classify, export

from .start import start

_OUTPUT = flags.DEFINE_string("output", "runs/demo", "Folder of the results.")
_SCHEMES = flags.DEFINE_list(
    "schemes", ["erm", "mixup", "manifold_mixup", "nfm"], "What to train."
)
_EPOCHS = flags.DEFINE_integer("epochs", 30, "Epochs of each run.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of everything.")

_PERTURBATIONS = (
    ["clean"]
    + [f"white_noise@{sigma}" for sigma in (0.2, 0.4, 0.6, 0.8)]
    + [f"salt_and_pepper@{gamma}" for gamma in (0.05, 0.1, 0.2)]
    + [f"pgd@{epsilon}" for epsilon in (0.02, 0.05, 0.1)]
)
_COLUMNS = ["clean", "white_noise@0.8", "salt_and_pepper@0.2", "pgd@0.05"]


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    folder = pathlib.Path(_OUTPUT.value)
    test = data.load("digits").test
    runs = [_run(scheme, folder / "runs" / scheme, test) for scheme in _SCHEMES.value]
    title = "1,797 images of digits, small_resnet"
    reports.write(runs, folder, title=title, columns=_COLUMNS)
    print("\n" + (folder / "table.md").read_text())
    last = folder / "runs" / _SCHEMES.value[-1]
    classifier = keras.saving.load_model(last / training.CLASSIFIER, compile=False)
    model = export(
        classifier,
        folder / "savedmodels" / f"digits_{runs[-1].scheme}",
        record=runs[-1],
        classes=test.spec.classes,
    )
    name, probability = classify(model, test.images[:1])[0]
    print(f"SavedModel {model} says '{name}' with probability {probability:.3f}")
    print(f"to an image of a '{test.spec.classes[test.labels[0]]}'.")
    print(f"Curves: {folder / 'curves.png'}")


def _run(scheme, folder, test):
    config = training.Config(
        scheme=scheme,
        dataset="digits",
        network="small_resnet",
        epochs=_EPOCHS.value,
        batch_size=32,
        eval_every=10,
        seed=_SEED.value,
    )
    print(f"{scheme}: {config.epochs} epochs", flush=True)
    record = training.train(
        config, folder, resume=True, verbose=0, command="python -m apps.demo"
    )
    classifier = keras.saving.load_model(folder / training.CLASSIFIER, compile=False)
    scores = evaluation.evaluate(
        classifier, test, _PERTURBATIONS, progress=lambda *s: print(evaluation.line(*s))
    )
    record = dataclasses.replace(record, scores=tuple(scores))
    records.save(record, folder / records.FILE)
    return record


if __name__ == "__main__":
    start(main)
