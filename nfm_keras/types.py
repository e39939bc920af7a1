"""Types that many signatures share, each with one name."""

import os
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

StrPath: TypeAlias = str | os.PathLike[str]
"""The path of a file or a folder."""

Tensor: TypeAlias = Any
"""A tensor of the Keras backend, a variable, or an array that Keras makes one of.

TensorFlow, JAX and PyTorch have no type in common that a checker knows.
"""

Tensors: TypeAlias = Any
"""A `Tensor`, or lists, tuples and dicts of them, such as the inputs of a model."""

Shapes: TypeAlias = tuple | list | dict
"""The shape of a tensor, or of each of several, as Keras nests them."""

Json: TypeAlias = Any
"""What JSON holds: dicts with string keys, lists, strings, numbers, booleans, None."""

Classifier: TypeAlias = Callable[[Tensor], Tensor]
"""A Keras model, or another callable, from images in [0, 1] to logits.

Images are `(batch, height, width, channels)`, logits `(batch, classes)`.
"""


class Identified(Protocol):
    """What has an id: a `Perturbation`, a `Corruption`, an attack."""

    @property
    def id(self) -> str: ...


PerturbationLike: TypeAlias = str | Identified
"""An id such as `"pgd@8/255"`, or what has one."""
