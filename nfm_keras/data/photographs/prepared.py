"""Sets that TensorFlow Datasets has prepared, read from their folder alone.

A folder says of itself which shards it has and what is in them; the package that wrote
it is needed to prepare a set, not to read it.
"""

import pathlib

from nfm_keras.data.photographs.files import RecordFiles
from nfm_keras.records.files import read_json

_INFO, _FEATURES = "dataset_info.json", "features.json"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


def splits(name: str, data_dir: pathlib.Path) -> dict[str, RecordFiles] | None:
    """Returns the files of a prepared set, by the name of their split.

    Args:
        name: Name of the set, such as `tf_flowers`, `imagenette/160px-v2` or
            `imagenet2012:5.1.0`; without a version the newest there is.
        data_dir: Folder of TensorFlow Datasets.

    Returns:
        Dict from the names of the splits, `validation` as `val`; `None` if no such set
        is prepared in the folder.

    Raises:
        FileNotFoundError: For a shard that is missing.
        ValueError: If the set is no set of labelled images, is not in TFRecord files,
            or has several configurations of which none is named.
    """
    folder = _folder(name, data_dir)
    if folder is None:
        return None
    info = read_json(folder / _INFO)
    if info.get("fileFormat", "tfrecord") != "tfrecord":
        raise ValueError(
            f"{folder} must be prepared in TFRecord files. "
            f"Received: {info['fileFormat']}"
        )
    features = _features(folder)
    image, label = (
        _feature(folder, features, kind) for kind in ("Image", "ClassLabel")
    )
    classes = _classes(folder, label, features[label])
    return {
        "val" if part["name"] == "validation" else part["name"]: RecordFiles(
            _shards(folder, info, part), _lengths(part), classes, image, label
        )
        for part in info["splits"]
    }


def _folder(name, data_dir):
    """The folder of the newest version of a set; None without."""
    name, _, version = name.partition(":")
    root = data_dir / name
    if not root.is_dir():
        return None
    configs = {path.parent.parent for path in root.glob(f"*/*/{_INFO}")}
    if configs and not any(root.glob(f"*/{_INFO}")):
        if len(configs) > 1:
            names = ", ".join(sorted(f"{name}/{path.name}" for path in configs))
            raise ValueError(
                f"One configuration of {name!r} must be named: {names}. "
                f"Received: {name!r}"
            )
        (root,) = configs
    folders = [path.parent for path in root.glob(f"{version or '*'}/{_INFO}")]
    return max(folders, key=_version, default=None)


def _version(folder):
    parts = folder.name.split(".")
    return [int(part) if part.isdecimal() else -1 for part in parts]


def _features(folder):
    content = read_json(folder / _FEATURES)
    return content.get("featuresDict", {}).get("features", {})


def _feature(folder, features, kind):
    """The name of the one feature of a kind."""
    names = [
        name
        for name, feature in features.items()
        if feature.get("pythonClassName", "").rpartition(".")[2] == kind
    ]
    preferred = {"Image": "image", "ClassLabel": "label"}[kind]
    if preferred in names or len(names) == 1:
        return preferred if preferred in names else names[0]
    raise ValueError(
        f"{folder} must be a set of labelled images, with one feature of the kind "
        f"{kind}. Received: {', '.join(names or features) or 'no features'}"
    )


def _classes(folder, label, feature):
    file = folder / f"{label}.labels.txt"
    if file.exists():
        lines = file.read_text(encoding="utf-8").split("\n")
        return tuple(line.strip() for line in lines if line.strip())
    count = int(feature.get("classLabel", {}).get("numClasses", 0))
    return tuple(map(str, range(count)))


def _lengths(part):
    """How many images each shard of a split holds."""
    return [int(length) for length in part["shardLengths"]]


def _shards(folder, info, part):
    """Paths of the shards of a split."""
    count = len(part["shardLengths"])
    template = part.get("filepathTemplate", _TEMPLATE)
    paths = [
        folder
        / template.format(
            DATASET=info["name"],
            SPLIT=part["name"],
            FILEFORMAT="tfrecord",
            SHARD_INDEX=f"{number:05d}",
            NUM_SHARDS=f"{count:05d}",
            SHARD_X_OF_Y=f"{number:05d}-of-{count:05d}",
        )
        for number in range(count)
    ]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f"All {len(paths)} shards of {part['name']} must be in {folder}; copy or "
            f"prepare it again. Received: without {', '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''} ({len(missing)} missing)"
        )
    return paths
