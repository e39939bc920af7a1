"""Where a backend trains wrongly: what is done instead, or warned of."""

import contextlib
import threading
import warnings

import keras

from nfm_keras.backend import keras_private

CHANNELS = 8
"""Input channels from which on nothing was wrong."""

_TORCH = (
    "PyTorch (2.13.0) computes wrong gradients for",
    "torch.backends.mkldnn.enabled = False",
)
_TENSORFLOW = (
    "TensorFlow (2.21.0) with oneDNN may end a process of one core that trains",
    "TF_ENABLE_ONEDNN_OPTS=0 before TensorFlow is imported",
)


def warn_of_wrong_training(model):
    """Warns of layers that the backend does not train rightly.

    *Convolutions*, where oneDNN runs them on a CPU. The gradient of the kernel of a 1x1
    convolution with strides, of channels-last images with fewer than 8 channels: in
    PyTorch 2.13.0 it is off by as much as its own size, and another one each time; in
    TensorFlow 2.21.0 it is right, but a process that has one core writes to memory
    beside it. Seen on a CPU with AVX2. Gradients by the images are right, so attacks
    are. JAX, GPUs and more channels are not concerned, nor are other convolutions: in
    one dimension or three, depthwise, transposed, with groups or larger kernels.

    *Spectral normalisation* on JAX. Keras' layer normalises its kernel within a step
    alone: what `fit` leaves, evaluates and saves has the norm of the start.

    Args:
        model: Built `keras.Model`.
    """
    layers = keras_private.nested_layers(model)
    _warn_of_convolutions([layer for layer in layers if _concerned(layer)])
    norms = [x for x in layers if isinstance(x, keras.layers.SpectralNormalization)]
    if norms and keras.backend.backend() == "jax":
        warnings.warn(
            "On JAX, Keras (3.15.1) normalises the kernel of a SpectralNormalization "
            "within a training step alone: `fit` validates, and leaves, another "
            "network than it trains. Call the model once with training=True after "
            "`fit`, before it is evaluated or saved, or train on another backend. "
            f"Received: {', '.join(layer.name for layer in norms)}",
            stacklevel=3,
        )


def _warn_of_convolutions(layers):
    concerned = {"torch": _torch, "tensorflow": _tensorflow}
    found = concerned.get(keras.backend.backend(), lambda: None)()
    if found and layers:
        names = [layer.name for layer in layers]
        what, remedy = found
        warnings.warn(
            f"On a CPU, {what} the kernel of a 1x1 convolution with strides and fewer "
            f"than {CHANNELS} input channels. Train with JAX, on a GPU, with a wider "
            f"network, or set {remedy}, which is slower. Received: {', '.join(names)}",
            stacklevel=4,
        )


def _torch():
    import torch

    cpu = torch.backends.mkldnn.enabled and not torch.cuda.is_available()
    return _TORCH if cpu else None


def _tensorflow():
    import tensorflow as tf

    cpu = not tf.config.list_physical_devices("GPU")
    return _TENSORFLOW if cpu and keras_private.tensorflow_uses_onednn() else None


def _concerned(layer):
    return (
        isinstance(layer, keras.layers.Conv2D)
        and layer.built
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and tuple(layer.kernel_size) == (1, 1)
        and max(layer.strides) > 1
        and layer.kernel.shape[-2] < CHANNELS
    )


@contextlib.contextmanager
def soft_label_gradients():
    """Returns the context in which cross-entropy has its own gradient for any labels.

    TensorFlow's, of logits, has that of labels that sum to 1, softmax minus label, for
    others too: rows of zeros, whose loss is 0, would move the weights. JAX and PyTorch
    have the right one, softmax times the sum of the label, minus the label. The value
    is the same, and so is the gradient of labels that sum to 1.
    """
    with _CROSSENTROPY.replaced():
        yield


@contextlib.contextmanager
def moments_of_two_derivatives():
    """Returns the context in which layers that normalise can be derived twice.

    TensorFlow's variance holds the mean within it constant. That changes no gradient,
    and the second derivatives of all that is made of it: of Keras' LayerNormalization
    and GroupNormalization, but not of batch norm outside of training.
    """
    with _MOMENTS.replaced():
        yield


class _Replaced:
    """A function of `tf.nn` that gives way to another while a thread is inside.

    Args:
        name: Its name.
        instead: Function of the original and its arguments.
    """

    def __init__(self, name, instead):
        self._name, self._instead = name, instead
        self._lock, self._users, self._original = threading.Lock(), 0, None

    @contextlib.contextmanager
    def replaced(self):
        if keras.backend.backend() != "tensorflow":
            yield
            return
        import tensorflow as tf

        with self._lock:
            if not self._users:
                self._original = getattr(tf.nn, self._name)
                setattr(tf.nn, self._name, self._call)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    setattr(tf.nn, self._name, self._original)

    def _call(self, *args, **kwargs):
        return self._instead(self._original, *args, **kwargs)


def _any_labels(original, labels, logits, axis=-1, name=None):
    """TensorFlow's softmax cross-entropy and a term of value 0 with what is missing."""
    import tensorflow as tf

    loss = original(labels, logits, axis=axis, name=name)
    labels = tf.cast(labels, loss.dtype)
    excess = tf.stop_gradient(tf.reduce_sum(labels, axis) - 1)
    level = tf.reduce_logsumexp(tf.cast(logits, loss.dtype), axis)
    return loss + excess * (level - tf.stop_gradient(level))


def _moments(_, x, axes, shift=None, keepdims=False, name=None):
    """Mean and variance, without the constant in it."""
    import tensorflow as tf

    mean = tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), axes, keepdims=keepdims)
    return (mean if keepdims else tf.reduce_mean(x, axes)), variance


_CROSSENTROPY = _Replaced("softmax_cross_entropy_with_logits", _any_labels)
_MOMENTS = _Replaced("moments", _moments)
