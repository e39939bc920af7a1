"""What a scheme may do to a batch of images before the forward pass."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import keras
from keras import ops, tree

from nfm_keras.mixing.draw import Draw
from nfm_keras.types import Tensor, Tensors


class Batch(NamedTuple):
    """What a technique makes of a batch.

    Attributes:
        images: float32 `(views * batch, height, width, channels)` in the classifier's
            units, a view after the other.
        draw: The `Draw` whose `lam` and `partner` mix the labels.
        site_draw: The `Draw` that the sites of the network follow; `None` for silent
            sites.
        views: How many views of each image; the labels' loss and the metrics see the
            first.
        loss: Function of the outputs for all views and the sample weights (None where
            there are none): a scalar to add to the loss.
        cut: As in `LabelMixing`: what labels with a value a pixel become.
    """

    images: Tensor
    draw: Draw
    site_draw: Draw | None = None
    views: int = 1
    loss: Callable | None = None
    cut: Callable | None = None


@dataclasses.dataclass(frozen=True)
class Technique:
    """Base of what a scheme does beside mixing at the sites of a network.

    A subclass is a frozen dataclass of settings with one method, `prepare`, that
    `NFMModel.train_step` calls in every step, traced with it.

    Attributes:
        on_host: Whether a part runs in NumPy, which XLA on TensorFlow cannot call.
        cuts: Whether images are cut, so that sites have nothing to do: features are not
            mixed, and no noise is added.
    """

    on_host: ClassVar[bool] = False
    cuts: ClassVar[bool] = False

    @property
    def clips(self) -> bool:
        """Whether images are clipped to [0, 1], so that they must be in it."""
        return False

    def prepare(
        self, model: keras.Model, images: Tensor, labels: Tensor, draw: Draw
    ) -> Batch:
        """Makes of a batch what the network is trained on.

        Args:
            model: The `NFMModel`; its state must be left as it is.
            images: float32 `(batch, height, width, channels)` in [0, 1], after the
                model's `preprocess`.
            labels: Tensor `(batch, ...)`.
            draw: The step's `Draw`; `site` is -1 where this batch is to stay as it is.
                More randomness comes from `random.fold(draw.key, STREAM)`.

        Returns:
            A `Batch`.
        """
        raise NotImplementedError

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuses inputs that it cannot take, by name.

        Args:
            shape: Of one input, without the batch.

        Raises:
            ValueError: If that is not `(height, width, channels)`, or Keras is set to
                another order.
        """
        if keras.config.image_data_format() == "channels_first" and len(shape) == 3:
            raise ValueError(
                f"{type(self).__name__} takes images (height, width, channels), and "
                "keras.config.image_data_format() says channels_first. "
                f"Received: shape {tuple(shape)}"
            )
        if len(shape) != 3:
            raise ValueError(
                f"{type(self).__name__} must be given images (height, width, "
                "channels); for tables and other features take mixup or nfm. "
                f"Received: shape {tuple(shape)}"
            )

    def as_images(self, images: Tensor) -> Tensor:
        """Returns a batch as float32, once it is checked.

        Args:
            images: One batch of images.

        Raises:
            ValueError: For a structure of several, or what `check` refuses.
        """
        if tree.is_nested(images):
            raise ValueError(
                f"{type(self).__name__} must be given one batch of images. "
                f"Received: a {type(images).__name__} of inputs"
            )
        self.check(images.shape[1:])
        return ops.cast(images, "float32")

    def get_config(self) -> dict:
        """Returns the settings as a dict."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


def has_pixels(labels, images, outputs=None):
    """Returns whether labels have a value for each pixel, such as a segmentation mask.

    Args:
        labels: Tensor `(batch, ...)`.
        images: `(batch, height, width, channels)`.
        outputs: What the labels belong to, `(batch, ...)`. Where these are maps, labels
            of three axes are masks too; else they may be sequences.

    Raises:
        ValueError: For masks of another size than the images, or of one that is not
            known, which cannot be cut like them.
    """
    of_images, of_labels = tuple(images.shape[1:3]), tuple(labels.shape[1:3])
    if len(labels.shape) > 2 and of_labels == of_images:
        return True
    of_maps = outputs is not None and len(outputs.shape) == 4
    if len(labels.shape) == 4 or (of_maps and len(labels.shape) == 3):
        if None in (*of_images, *of_labels):
            raise ValueError(
                "The sizes of masks and of images that are cut must be known as the "
                "step is traced: set them by `tf.ensure_shape` in the pipeline. "
                f"Received: images of shape {tuple(images.shape)}, labels of shape "
                f"{tuple(labels.shape)}"
            )
        raise ValueError(
            "Masks must have the size of the images that are cut, "
            f"{of_images[0]}x{of_images[1]}: resize them, and the outputs with them. "
            f"Received: labels of shape {tuple(labels.shape)}"
        )
    return False


STREAM = 1 << 16
"""Apart from the keys that the noise at the sites takes from the same draw."""


class _Prepared(threading.local):
    """The batch of a thread's training step."""

    batch: Batch | None = None
    model: Any = None


# Thread-local for the same reason as the scopes of the mixing.
_PREPARED = _Prepared()


@contextlib.contextmanager
def prepared(batch: Batch, model: Any = None):
    """Puts a batch in force for the training step inside the `with` block.

    Args:
        batch: What a technique's `prepare` returned.
        model: The `NFMModel` that it is the input of.
    """
    _PREPARED.batch, _PREPARED.model = batch, model
    try:
        yield
    finally:
        _PREPARED.batch = _PREPARED.model = None


def current_batch() -> Batch | None:
    """Returns the `Batch` in force, or `None`."""
    return _PREPARED.batch


def is_prepared(model: Any) -> bool:
    """Returns whether the batch in force is the input of this very `NFMModel`."""
    return _PREPARED.batch is not None and _PREPARED.model is model


def runs_on_host(technique: Technique | None) -> bool:
    """Returns whether a step leaves the graph, where that keeps XLA out."""
    if technique is None or not technique.on_host:
        return False
    return keras.backend.backend() == "tensorflow"


def first_view(outputs: Tensors) -> Tensors:
    """Returns the outputs for the labels' own view, where a technique made several."""
    batch = current_batch()
    if batch is None or batch.views == 1:
        return outputs
    return tree.map_structure(lambda t: t[: ops.shape(t)[0] // batch.views], outputs)
