"""Losses: of smoothed labels, sample by sample, and between views of an image."""

from typing import Any

import keras
from keras import ops, tree

from nfm_keras.backend.gradients import value_and_grad
from nfm_keras.checks import check_number
from nfm_keras.types import Tensor


@keras.saving.register_keras_serializable(package="nfm_keras")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits with class numbers, the labels smoothed.

    A label becomes `1 - label_smoothing` of its class and `label_smoothing` spread
    evenly over all classes. Keras has that for one-hot labels alone.

    Args:
        label_smoothing: float in [0, 1). What is taken from the label's own class.
        **kwargs: As in `keras.losses.Loss`.

    Raises:
        ValueError: If `label_smoothing` lies outside [0, 1).

    Example:

    >>> loss = SmoothedCrossentropy(0.1)
    >>> print(round(float(loss(ops.ones((1,)), ops.zeros((1, 2)))), 4))
    0.6931

    Reference:
        [Szegedy et al., 2016](https://arxiv.org/abs/1512.00567), section 7.
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        name: str = "smoothed_crossentropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        check_number("label_smoothing", label_smoothing, least=0, below=1)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        own = keras.losses.sparse_categorical_crossentropy(
            y_true, y_pred, from_logits=True
        )
        spread = ops.logsumexp(y_pred, axis=-1) - ops.mean(y_pred, axis=-1)
        return (1 - self.label_smoothing) * own + self.label_smoothing * spread

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def sample_losses(loss, labels, outputs):
    """Returns the losses of the samples of a batch, before any reduction.

    Args:
        loss: What `compile` was given: a `keras.losses.Loss`, a function or a name.
        labels: Tensor `(batch, ...)`.
        outputs: Tensor `(batch, ...)`.

    Returns:
        float32 tensor `(batch,)`.

    Raises:
        ValueError: If there are several outputs, or `loss` is no single loss.

    Example:

    >>> tuple(sample_losses("mse", ops.ones((2, 3)), ops.zeros((2, 3))).shape)
    (2,)
    """
    if tree.is_nested(outputs) or tree.is_nested(loss) or loss is None:
        raise ValueError(
            "A scheme that follows the gradient of the loss needs a model with one "
            f"output and one loss. Received: loss={loss!r}"
        )
    function = keras.losses.get(loss)
    function = function.call if isinstance(function, keras.Loss) else function
    losses = function(labels, ops.cast(outputs, "float32"))
    return ops.mean(ops.reshape(losses, (ops.shape(outputs)[0], -1)), axis=1)


def input_gradient(model, images, labels):
    """Returns the gradient of a model's loss with respect to the images.

    By the network in inference mode: no statistic moves, nothing drops out, no site
    mixes, and gradients of the weights are not taken.

    Args:
        model: A compiled `NFMModel`.
        images: float32 `(batch, height, width, channels)`.
        labels: Tensor `(batch, ...)`.

    Returns:
        Tensor like `images`, each image's the gradient of its own loss.
    """

    def loss(images, labels):
        losses = sample_losses(model.loss, labels, model.model(images, training=False))
        return losses, losses

    return value_and_grad(loss)(images, labels)[2]


def jensen_shannon(logits, views):
    """Returns the Jensen-Shannon divergence between the predictions for views.

    Args:
        logits: Tensor `(views * batch, classes)`, a view after the other.
        views: Integer, how many.

    Returns:
        float32 scalar in nats, the mean over the batch; at most `log(views)`.

    Raises:
        ValueError: If there are several outputs.

    Example:

    >>> print(float(jensen_shannon(ops.zeros((6, 10)), views=3)))
    0.0

    Reference:
        [Hendrycks et al., 2020](https://arxiv.org/abs/1912.02781), equation (1).
    """
    if tree.is_nested(logits):
        raise ValueError(
            "The divergence between views needs a model with one output. "
            f"Received: a {type(logits).__name__} of outputs"
        )
    logits = ops.cast(logits, "float32")
    logits = ops.reshape(logits, (views, -1, logits.shape[-1]))
    log_p = ops.log_softmax(logits, axis=-1)
    p = ops.exp(log_p)
    log_mean = ops.log(ops.clip(ops.mean(p, axis=0), 1e-7, 1.0))
    return ops.mean(ops.sum(p * (log_p - log_mean), axis=(0, 2))) / views
