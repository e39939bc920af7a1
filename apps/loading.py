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

    Raises:
        ValueError: For two of one name, as all runs of a sweep are called `seed_0`.
    """
    named = [evaluation.classifiers.named(text) for text in models]
    loaded = [*map(load, runs), *(load(path, name) for name, path in named)]
    evaluation.classifiers.refuse_twins(one.name for one in loaded)
    return loaded


def photographs_of(loaded, given):
    """Returns how photographs are read: as the runs did, or as a model takes them.

    What runs held out matters only to a set without other images to test on; where they
    differ in it, `held_out` has all of it, and `data.load_test` refuses such a set.

    Args:
        loaded: List of what `load_all` gives.
        given: Dict of what the flags say instead.

    Raises:
        ValueError: If the runs read them in different ways, or have other classes:
            labels would mean something else to one of them.
    """
    configs = [one.record.config for one in loaded if one.record]
    for name in ("classes", "image_size", "eval_crop"):
        values = [config.get(name) for config in configs]
        if name not in given and any(value != values[0] for value in values):
            told = " and ".join(f"{value!r:.80}" for value in values)
            raise ValueError(
                f"Runs must share their {name} to be evaluated on the same "
                f"photographs. Received: {told}"
            )
    side = (getattr(loaded[0].classifier, "input_shape", None) or (None, None))[1]
    held_out = {(c.get("limit"), c.get("validation") or 0) for c in configs}
    differing = {"held_out": sorted(held_out, key=str)} if len(held_out) > 1 else {}
    return {"image_size": side} | next(iter(configs), {}) | differing
