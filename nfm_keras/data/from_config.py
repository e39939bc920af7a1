"""The set of images of a run's config: arrays or photographs."""

import dataclasses
from typing import Any

from nfm_keras.data import loading
from nfm_keras.data.own import spec_of_name
from nfm_keras.data.photographs import catalogue
from nfm_keras.data.photographs.photographs import Reading
from nfm_keras.data.specs import DatasetSpec
from nfm_keras.types import StrPath

_READING = ("image_size", "eval_crop", "antialias")


def described(
    config: Any, data_dir: StrPath | None = None, download: bool = False
) -> Any:
    """Fills in what a config leaves to its set of photographs.

    Args:
        config: A `nfm_keras.training.Config`.
        data_dir: As in `data.load`.
        download: As there.

    Returns:
        The config with `image_size`, `eval_crop`, `antialias` and `classes`; as it is
        for a set that is no photographs, or where nothing is missing.

    Raises:
        ValueError: If one of these is given for another set.
        FileNotFoundError: If the photographs are not there.
    """
    given = {name: getattr(config, name) for name in (*_READING, "classes")}
    if not catalogue.is_photographs(config.dataset):
        alien = {name: value for name, value in given.items() if value is not None}
        catalogue.refuse_settings(config.dataset, alien)
        return config
    missing = {
        name: value
        for name, value in Reading()._asdict().items()
        if name in given and given[name] is None
    }
    if config.classes is None:
        missing["classes"] = catalogue.classes_of(config.dataset, data_dir, download)
    return dataclasses.replace(config, **missing)


def spec_of(config: Any) -> DatasetSpec:
    """Returns the `DatasetSpec` of a config that is `described`."""
    if config.classes is None:
        return spec_of_name(config.dataset)
    return catalogue.describe(config.dataset, config.classes, config.image_size)


def load(
    config: Any,
    data_dir: StrPath | None = None,
    download: bool = False,
    **reading: Any,
) -> loading.Splits:
    """Loads the images of a config: see `data.load`.

    Args:
        config: A `nfm_keras.training.Config`.
        data_dir: As there.
        download: As there.
        **reading: As there, what a config does not say: `strict`, `cache`, `cache_dir`.
            At their defaults they are as if not given.

    Raises:
        ValueError: If the set has other classes than the config.
    """
    settings = {name: getattr(config, name) for name in _READING}
    usual = Reading()
    reading = {name: v for name, v in reading.items() if v != getattr(usual, name)}
    reading |= {name: value for name, value in settings.items() if value is not None}
    place = data_dir, download, config.limit, config.validation
    splits = loading.load(config.dataset, *place, **reading)
    _check_classes(config.dataset, config.classes, splits.train.spec.classes)
    return splits


def outline(
    config: Any, data_dir: StrPath | None = None, download: bool = False
) -> loading.Splits | None:
    """Returns black images in the place of those of a config: see `data.loading`.

    Args:
        config: A `nfm_keras.training.Config`.
        data_dir, download: As in `data.load`.
    """
    place = data_dir, download, config.limit, config.validation
    return loading.outline(config.dataset, *place)


def load_test(
    dataset: str,
    config: dict,
    data_dir: StrPath | None = None,
    download: bool = False,
    **given: Any,
) -> Any:
    """Loads the images to test on, as a run had them.

    Args:
        dataset: As in `data.load`; or a set of photographs that has none to train on:
            `imagenet_v2`, `imagenet_a`, `imagenet_r` or another `tfds:NAME`.
        config: Dict with what a run's config says of photographs: `image_size`,
            `eval_crop`, `classes`, and `limit` and `validation`, for a set that is
            tested on images held out; of several runs with other ones `held_out`, a
            list of these pairs. Class folders alone are tested on whole where nothing
            says that images were held out.
        data_dir, download: As in `data.load`.
        **given: `image_size`, `eval_crop` or `strict`, which come before those of the
            config; `validation`, for a classifier without one.

    Returns:
        A `Split` or `PhotographSplit`.

    Raises:
        ValueError: If another set is given a setting of photographs, the set has other
            classes than the config, or it is tested on images held out and the runs, or
            a run and what is given, held out others.
    """
    if not catalogue.is_photographs(dataset):
        catalogue.refuse_settings(dataset, given)
        return loading.load(dataset, data_dir, download).test
    own = config.get("limit"), config.get("validation")
    pairs = [*config.get("held_out", [own]), (own[0], given.pop("validation", 0))]
    held_out = [(limit, count) for limit, count in pairs if count]
    settings = ("image_size", "eval_crop")
    reading = {name: config[name] for name in settings if config.get(name) is not None}
    place = data_dir, download, held_out
    test = catalogue.open_test(dataset, *place, Reading(**reading | given))
    expected, cut = config.get("classes"), test.spec.cut
    if cut and expected and len(expected) == cut.total:
        # The judge looks for the set's classes among the logits.
        expected = [expected[place] for place in cut.places]
    _check_classes(dataset, expected, test.spec.classes)
    return test


def _check_classes(dataset, expected, received):
    """Refuses a set whose labels would mean other classes than those of a run."""
    if expected is None or tuple(expected) == tuple(received):
        return
    raise ValueError(
        f"{dataset} must have the {len(expected)} classes of the run, "
        f"{', '.join(expected[:3])} ... Received: {len(received)} classes, "
        f"{', '.join(received[:3])} ..."
    )
