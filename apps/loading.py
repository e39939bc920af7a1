"""Classifiers that flags name, however they were kept."""

import pathlib

from nfm_keras import evaluation, records, serving


def load(path, name=None):
    """Loads a classifier, as `evaluation.classifiers.load` does.

    A run may have kept its weights in half precision alone, beside its record.

    Args:
        path: Folder of a run, a `.keras` file or the version folder of a SavedModel.
        name: Name to show; by default that of the run, the file or the model.

    Returns:
        `nfm_keras.evaluation.classifiers.Loaded`.
    """
    place = pathlib.Path(path)
    half = (place / "weights_float16.npz").exists()
    if not half or (place / "classifier.keras").exists():
        return evaluation.classifiers.load(path, name)
    record = records.load(place / records.FILE)
    model = serving.load_model(place)
    return evaluation.classifiers.Loaded(name or record.name, model, record, place)


def load_all(runs, models):
    """Loads the classifiers of `--run_dir` and `--model`, in this order.

    Args:
        runs: Paths.
        models: `PATH` or `NAME=PATH`.

    Returns:
        List of `nfm_keras.evaluation.classifiers.Loaded`.
    """
    named = [evaluation.classifiers.named(text) for text in models]
    return [*map(load, runs), *(load(path, name) for name, path in named)]
