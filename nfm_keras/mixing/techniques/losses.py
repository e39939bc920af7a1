"""Losses: of smoothed labels, sample by sample, and between views of an image."""

from typing import Any

import keras
from keras import ops, tree

from nfm_keras.backend.gradients import value_and_grad
from nfm_keras.backend.wrong_gradients import soft_label_gradients
from nfm_keras.checks import check_number
from nfm_keras.mixing.labels.loss import in_full
from nfm_keras.types import Tensor

_TINY, _LOWEST = 1e-37, -1e30


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


def sample_losses(loss, labels, outputs, weights=None):
    """Returns the losses of the samples of a batch, before any reduction.

    Args:
        loss: What `compile` was given: a `keras.losses.Loss`, a function or a name.
        labels: Tensor `(batch, ...)`.
        outputs: Tensor `(batch, ...)`.
        weights: Sample weights `(batch, ...)` to multiply them by, or `None`.

    Returns:
        float32 tensor `(batch,)`. A loss that is one number a batch is that of each.

    Raises:
        ValueError: If there are several outputs, `loss` is no single loss, or weights
            have more axes than its values.

    Example:

    >>> tuple(sample_losses("mse", ops.ones((2, 3)), ops.zeros((2, 3))).shape)
    (2,)
    """
    if tree.is_nested(outputs) or tree.is_nested(loss) or loss is None:
        raise ValueError(
            "A scheme that follows the gradient of the loss needs a model with one "
            f"output and one loss. Received: loss={loss!r}"
        )
    function, batch = _resolved(loss, labels, outputs), ops.shape(outputs)[0]
    if type(function).__call__ is keras.Loss.__call__:
        function = function.call
    # Floats, as Keras has them for any loss.
    losses = function(ops.cast(labels, "float32"), ops.cast(outputs, "float32"))
    if len(losses.shape) == 0:
        losses = ops.broadcast_to(losses, (batch,))
    if weights is not None:
        losses = losses * in_full(weights, losses)
    return ops.mean(ops.reshape(losses, (batch, -1)), axis=1)


def margin_losses(loss, labels, outputs):
    """Returns losses of samples whose gradients never forget the true class.

    The gradient of cross-entropy, softmax minus label, is rounded to 0 in float32 from
    a lead of about 17 logits on. With the margin m, logsumexp of the other logits minus
    the true one, cross-entropy is log(1 + exp(m)): where a loss is a cross-entropy of a
    class, `m` has its place, and of several classes a sample (pixels, time steps) the
    sum of `m` times sigmoid(m), scaled such that the largest weight is 1.

    Args:
        loss: As in `sample_losses`.
        labels: Tensor `(batch, ...)`.
        outputs: Tensor `(batch, ..., classes)`.

    Returns:
        float32 tensor `(batch,)`, the gradient of each a positive multiple of that of
        `sample_losses`. Of another loss, or labels that are no classes, those.

    Raises:
        ValueError: As in `sample_losses`.

    Example:

    >>> logits = ops.convert_to_tensor([[50.0, 0.0, 0.0]])
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> print(round(float(margin_losses(loss, ops.zeros((1,)), logits)[0]), 4))
    -49.3069
    """
    losses = sample_losses(loss, labels, outputs)
    function, from_logits = _plain_crossentropy(_resolved(loss, labels, outputs))
    if function is None:
        return losses
    outputs = ops.cast(outputs, "float32")
    margins = _MARGINS[function](labels, outputs, from_logits)
    shape = ops.shape(outputs)[0], -1
    margin, is_class = (ops.reshape(values, shape) for values in margins)
    weight = ops.stop_gradient(ops.log_sigmoid(margin))
    weight = ops.exp(weight - ops.max(weight, axis=1, keepdims=True))
    known = ops.all(is_class, axis=1)
    return ops.where(known, ops.mean(weight * margin, axis=1), losses)


def _resolved(loss, labels, outputs):
    """A loss, by Keras' names too, two of which stand for what fits the labels."""
    if not isinstance(loss, str) or loss.lower() not in ("crossentropy", "ce"):
        return keras.losses.get(loss)
    if outputs.shape[-1] == 1:
        return keras.losses.binary_crossentropy
    if len(labels.shape) < len(outputs.shape) or labels.shape[-1] == 1:
        return keras.losses.sparse_categorical_crossentropy
    return keras.losses.categorical_crossentropy


def _plain_crossentropy(loss):
    """A cross-entropy and whether it takes logits; (None, None) of any other loss."""
    if isinstance(loss, keras.Loss):
        function, settings = getattr(loss, "fn", None), loss.get_config()
    else:
        function = getattr(loss, "func", loss)  # of a functools.partial
        settings = getattr(loss, "keywords", {})
    if isinstance(loss, SmoothedCrossentropy):
        function = keras.losses.sparse_categorical_crossentropy
        settings = {"from_logits": True, **settings}
    plain = not settings.get("label_smoothing") and settings.get("axis", -1) == -1
    if (
        function not in _MARGINS
        or not plain
        or settings.get("ignore_class") is not None
    ):
        return None, None
    return function, bool(settings.get("from_logits", False))


def _margin_of_class(labels, outputs, from_logits):
    """Of class numbers `(batch, ...)`: margins, and that they are classes."""
    labels = ops.reshape(ops.cast(labels, "int32"), ops.shape(outputs)[:-1])
    is_true = labels[..., None] == ops.arange(outputs.shape[-1], dtype="int32")
    return _margin(is_true, outputs, from_logits), ops.ones_like(labels, "bool")


def _margin_of_vector(labels, outputs, from_logits):
    """Of vectors `(batch, ..., classes)`: margins, and where one class has it all."""
    labels = ops.cast(labels, "float32")
    is_true = labels > 0.5
    rest = ops.sum(ops.abs(labels - ops.cast(is_true, "float32")), axis=-1)
    one = ops.sum(ops.cast(is_true, "int32"), axis=-1) == 1
    is_class = ops.logical_and(one, rest < 1e-6)
    return _margin(is_true, outputs, from_logits), is_class


def _margin(is_true, outputs, from_logits):
    logits = outputs if from_logits else ops.log(ops.maximum(outputs, _TINY))
    others = ops.logsumexp(ops.where(is_true, _LOWEST, logits), axis=-1)
    return others - ops.sum(ops.where(is_true, logits, 0.0), axis=-1)


def _margin_of_bits(labels, outputs, from_logits):
    """Of zeros and ones: margins, and that they are zeros and ones."""
    labels = ops.reshape(ops.cast(labels, "float32"), ops.shape(outputs))
    if not from_logits:
        p = ops.stack([outputs, 1 - outputs])
        logits = ops.log(ops.maximum(p, _TINY))
        outputs = logits[0] - logits[1]
    return (1 - 2 * labels) * outputs, ops.equal(labels * (1 - labels), 0)


_MARGINS = {
    keras.losses.sparse_categorical_crossentropy: _margin_of_class,
    keras.losses.categorical_crossentropy: _margin_of_vector,
    keras.losses.binary_crossentropy: _margin_of_bits,
}


def input_gradient(model, images, labels):
    """Returns the gradient of a model's loss with respect to the images.

    By the network in inference mode: no statistic moves, nothing drops out, no site
    mixes, and gradients of the weights are not taken. Of a cross-entropy it is that of
    `margin_losses`: the same but for the length.

    Args:
        model: A compiled `NFMModel`.
        images: float32 `(batch, height, width, channels)`.
        labels: Tensor `(batch, ...)`.

    Returns:
        Tensor like `images`, each image's the gradient of its own loss.
    """

    def loss(images, labels):
        outputs = model.model(images, training=False)
        losses = margin_losses(model.loss, labels, outputs)
        return losses, losses

    with soft_label_gradients():
        return value_and_grad(loss)(images, labels)[2]


def jensen_shannon(logits, views):
    """Returns the Jensen-Shannon divergence between the predictions for views.

    Args:
        logits: Tensor `(views * batch, classes)`, a view after the other; one logit is
            that of the second of two classes.
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
    if logits.shape[-1] == 1:  # of the second of two classes
        logits = ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
    logits = ops.reshape(logits, (views, -1, logits.shape[-1]))
    log_p = ops.log_softmax(logits, axis=-1)
    p = ops.exp(log_p)
    log_mean = ops.log(ops.clip(ops.mean(p, axis=0), 1e-7, 1.0))
    return ops.mean(ops.sum(p * (log_p - log_mean), axis=(0, 2))) / views
