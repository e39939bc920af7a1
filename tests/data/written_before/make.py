"""Makes the files beside it, which every later version of the package has to read.

They were written by commit d04d648, the last one before the modules were moved, with

    PYTHONPATH=CHECKOUT KERAS_BACKEND=tensorflow \\
        python tests/data/written_before/make.py

where CHECKOUT is the full path of a checkout of that commit. Later commits have other
module names, so that this runs with that one only.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import zipfile

import keras
import numpy as np

import nfm_keras as nfm
from nfm_keras import data, schemes, training
from nfm_keras.corruptions.layers import RandomCorruption

HERE = pathlib.Path(__file__).parent
SMALL = {"network": "mlp", "depth": 1, "width": 1 / 16}

# What a scheme's model has beside that, so that most kinds of settings are in a file.
OPTIONS = {
    "erm": {"on_nan": "skip"},
    "noise": {"dropout": 0.2},
    "mixup": {"schedule": "cosine", "warmup_epochs": 1},
    "cutmix": {"optimizer": "adam", "schedule": "constant"},
    "puzzlemix": {"grids": (2, 4)},
    "manifold_mixup": {"depth": 2, "per_sample": True},
    "noisy_mixup": {"optimizer": "adamw", "ema": True},
    "nfm": {"network": "small_resnet", "depth": None, "width": 1 / 64},
    "nfm_star": {"depth": 2, "noise_schedule": "rise", "noise": "gaussian"},
    "adversarial": {"width": 1 / 8, "learning_rate": 0.02, "attack_steps": 3},
    "noisymix": {"depth": 2, "gradient_accumulation": 2},
}

# The second epoch of this run is cut in half for `run_half`.
TRAIN = (
    *("--scheme=nfm", "--dataset=digits", "--network=mlp", "--depth=2"),
    *("--width=0.5", "--dropout=0.1", "--noise_schedule=rise", "--ema"),
    *("--epochs=2", "--batch_size=8", "--learning_rate=0.05", "--schedule=cosine"),
    *("--save_every=80", "--keep=9"),
)
LAST, HALF = "0002", ("0001", "0001-000080")


def models(folder):
    """A model of each scheme, and one with the layers that none of them has."""
    folder.mkdir()
    test = data.load("digits").test
    batch, labels = test.images[:4], test.labels[:4]
    images = batch.astype("float32") / 255
    expected = {}
    for scheme in schemes.SCHEMES:
        options = SMALL | OPTIONS.get(scheme, {})
        config, network = training.resolve(training.Config(scheme=scheme, **options))
        model = training.compile_model(config, network, steps=4)
        model.fit(batch, labels, epochs=8, verbose=0)
        model.save(folder / f"{scheme}.keras")
        expected[scheme] = model.classifier(images, training=False)
    network = nfm.networks.build("vit_lite", (8, 8, 1), 10, width=1 / 64, depth=1)
    corruption = RandomCorruption(["gaussian_noise", "fog"], rate=0.5)
    model = keras.Sequential([keras.Input((8, 8, 1)), corruption, network])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss)
    model.fit(images, labels, epochs=20, verbose=0)
    model.save(folder / "layers.keras")
    expected["layers"] = model(images, training=False)
    logits = {name: keras.ops.convert_to_numpy(x) for name, x in expected.items()}
    np.savez(folder / "expected.npz", images=images, **logits)
    check_all_classes(folder)


def check_all_classes(folder):
    """Each class of ours that Keras saves by its name is in one of the files."""
    ours = [n for n in keras.saving.get_custom_objects() if n.startswith("nfm_keras>")]
    texts = [zipfile.ZipFile(p).read("config.json") for p in folder.glob("*.keras")]
    missing = [n for n in ours if not any(json.dumps(n).encode() in t for t in texts)]
    if missing:
        raise RuntimeError(f"No file has {missing}")


def runs():
    """A run, scored, and the same run as it is in the middle of its second epoch."""
    app("train", *TRAIN, "--run_dir=run", "--verbose=2")
    shutil.copytree(HERE / "run", HERE / "run_half")
    keep(HERE / "run", LAST)
    keep(HERE / "run_half", *HALF)
    for name in ("record.json", "classifier.keras"):
        (HERE / "run_half" / name).unlink()
    history = HERE / "run_half" / "history.csv"
    history.write_text("".join(history.read_text().splitlines(keepends=True)[:2]))
    rows = "--perturbations=clean,white_noise@0.1,pgd@8/255"
    app("evaluate", "--run_dir=run", rows, "--limit=40")
    app("export", "--run_dir=run", "--output=.", "--name=savedmodel")


def keep(run, *names):
    """Removes all checkpoints of a run but some."""
    for path in (run / "checkpoints").iterdir():
        if path.name not in names:
            shutil.rmtree(path)


def app(name, *arguments):
    subprocess.run(
        [sys.executable, "-m", f"apps.{name}", *arguments], cwd=HERE
    ).check_returncode()


def evaluation():
    """The run's classifier by a whole suite, on very few images."""
    nfm.evaluate(
        keras.saving.load_model(HERE / "run" / "classifier.keras", compile=False),
        data.load("digits").test,
        suite="standard",
        limit=20,
        attack_limit=8,
        corruption_limit=8,
        store=HERE / "evaluation_standard.json",
        about={"model": "run", "dataset": "digits"},
    )


if __name__ == "__main__":
    for name in ("models", "run", "run_half", "savedmodel"):
        shutil.rmtree(HERE / name, ignore_errors=True)
    (HERE / "evaluation_standard.json").unlink(missing_ok=True)
    keras.utils.set_random_seed(0)
    models(HERE / "models")
    runs()
    evaluation()
