"""The paper's experiments, one literal table a file, by name."""

import importlib
import pathlib
from typing import TYPE_CHECKING, Any

from nfm_keras.checks import unknown

if TYPE_CHECKING:  # the names of the tables are to cost nothing
    from nfm_keras.experiments.experiment import Experiment

NAMES = tuple(
    sorted(
        path.stem
        for path in pathlib.Path(__file__).parent.glob("*.py")
        if path.stem != "__init__"
    )
)


FULL: dict[str, Any] = {
    "epochs": 200,
    "width": 1.0,
    "limit": None,
    "batch_size": 128,
    "precision": "mixed_bfloat16",
    "eval_every": 10,
}
"""Full scale. A run is validated and checkpointed every `eval_every` epochs."""


def load(name: str) -> "Experiment":
    """Returns the `Experiment` of a name.

    Args:
        name: One of `NAMES`.

    Raises:
        ValueError: For an unknown name, or the toy's, which trains in another way.

    Example:

    >>> load("table1").label("nfm")
    'Noisy Feature Mixup (alpha=1.0)'
    """
    if name not in NAMES:
        raise unknown("experiment", name, NAMES)
    module = importlib.import_module(f"nfm_keras.experiments.tables.{name}")
    if not hasattr(module, "EXPERIMENT"):
        raise ValueError(
            "An experiment must have rows to train and to score. "
            f"Received: {name!r}, which apps.{name} runs and reports"
        )
    return module.EXPERIMENT
