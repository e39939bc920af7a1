"""Trains, evaluates, reports and exports, on 1,797 real images of digits.

    python -m apps.demo --output=runs/demo

Four schemes of 30 epochs each; about a minute and a half on two cores. The curves
are in OUTPUT/curves.png, the exported model in OUTPUT/savedmodels.
"""

import pathlib

from absl import app, flags, logging

from nfm_keras import data, evaluation, records, reports, serving, training

from .start import start

_OUTPUT = flags.DEFINE_string("output", "runs/demo", "Folder of the results.")
_SCHEMES = flags.DEFINE_list(
    "schemes", ["erm", "mixup", "manifold_mixup", "nfm"], "What to train."
)
_EPOCHS = flags.DEFINE_integer("epochs", 30, "Epochs of each run.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of everything.")

_COMMAND = "python -m apps.demo"
_PERTURBATIONS = (
    "clean",
    *(f"white_noise@{sigma}" for sigma in (0.2, 0.4, 0.6, 0.8)),
    *(f"salt_and_pepper@{gamma}" for gamma in (0.05, 0.1, 0.2)),
    *(f"pgd@{epsilon}" for epsilon in (0.02, 0.05, 0.1)),
)
_COLUMNS = ["clean", "white_noise@0.8", "salt_and_pepper@0.2", "pgd@0.05"]


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    folder = pathlib.Path(_OUTPUT.value)
    configs = [_config(scheme) for scheme in _schemes()]
    test = data.load("digits").test
    scored = [_run(config, folder / "runs" / config.scheme, test) for config in configs]
    runs, evaluations = zip(*scored)
    title = "1,797 images of digits, small_resnet"
    reports.write(runs, folder, title=title, columns=_COLUMNS)
    print("\n" + (folder / "table.md").read_text(encoding="utf-8"))
    scheme, classes = runs[-1].scheme, test.spec.classes
    model = serving.export(
        serving.load_model(
            folder / "runs" / scheme / training.CLASSIFIER, compile=False
        ),
        folder / "savedmodels" / f"digits_{scheme}",
        record=runs[-1],
        evaluation=evaluations[-1],
        classes=classes,
    )
    name, probability = serving.classify(model, test.images[:1])[0]
    print(f"SavedModel {model} says '{name}' with probability {probability:.3f}")
    print(f"to an image of a '{classes[test.labels[0]]}'.")
    print(f"Curves: {folder / 'curves.png'}")


def _schemes():
    names = _SCHEMES.value
    if not names or len(set(names)) < len(names):
        raise app.UsageError(
            f"--schemes must be different schemes, at least one. Received: {names}"
        )
    return names


def _config(scheme):
    return training.Config(
        scheme=scheme,
        dataset="digits",
        network="small_resnet",
        epochs=_EPOCHS.value,
        batch_size=32,
        eval_every=10,
        seed=_SEED.value,
    )


def _run(config, folder, test):
    """Trains and scores one scheme; returns its record and its evaluation."""
    print(f"{config.scheme}: {config.epochs} epochs", flush=True)
    training.train(config, folder, resume=True, verbose=0, command=_COMMAND)
    scores = evaluation.evaluate(
        serving.load_model(folder / training.CLASSIFIER, compile=False),
        test,
        _PERTURBATIONS,
        progress=lambda *score: print(evaluation.line(*score), flush=True),
        store=folder / records.EVALUATION_FILE,
        about={"model": config.scheme, "dataset": "digits", "command": _COMMAND},
    )
    return records.load(folder / records.FILE), scores


def run():
    """The command `nfm-demo`."""
    start(main)


if __name__ == "__main__":
    run()
