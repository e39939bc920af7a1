"""The Keras network of a SavedModel that lies beside the record of its run."""

import pathlib

import keras

from nfm_keras import records
from nfm_keras.evaluation.classifiers import SavedModel
from nfm_keras.training import inputs
from nfm_keras.types import StrPath


def network_of(path: StrPath) -> tuple[keras.Model, records.Record]:
    """Builds the network of an exported run again, with the weights of the export.

    A SavedModel is a function without layers: it has no sites to look at.

    Args:
        path: Version folder, as `nfm-export` writes it, with `record.json`.

    Returns:
        `(network, record)`: a functional model in float32, without its sites.

    Raises:
        FileNotFoundError: If there is no record.
        RuntimeError: Under another backend than TensorFlow.
        ValueError: If a weight of the network is not in the file.
    """
    path = pathlib.Path(path)
    record = records.load(path / records.FILE)
    _, model = inputs.rebuild(record.config | {"precision": "float32"})
    network = model.classifier
    known = {v.name.partition(":")[0]: v for v in SavedModel(path).variables}
    missing = sorted({weight.path for weight in network.weights} - set(known))
    if missing:
        raise ValueError(
            "The SavedModel must hold every weight of the network that its record "
            f"describes. Received: none for {missing[:3]}"
        )
    for weight in network.weights:
        weight.assign(known[weight.path])
    return network, record
