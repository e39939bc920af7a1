"""Warns of the one convolution that oneDNN does not train rightly on a CPU."""

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


def warn_of_wrong_gradients(model):
    """Warns of convolutions that oneDNN does not train rightly on a CPU.

    The gradient of the kernel of a 1x1 convolution with strides, of channels-last
    images with fewer than 8 channels: in PyTorch 2.13.0 it is off by as much as its own
    size, and another one each time; in TensorFlow 2.21.0 it is right, but a process
    that has one core writes to memory beside it. Seen on a CPU with AVX2. Gradients by
    the images are right, so attacks are. JAX, GPUs and more channels are not concerned,
    nor are other convolutions: in one dimension or three, depthwise, transposed, with
    groups or larger kernels.

    Args:
        model: Built `keras.Model`.
    """
    concerned = {"torch": _torch, "tensorflow": _tensorflow}
    found = concerned.get(keras.backend.backend(), lambda: None)()
    if found is None:
        return
    layers = keras_private.nested_layers(model)
    names = [layer.name for layer in layers if _concerned(layer)]
    if names:
        what, remedy = found
        warnings.warn(
            f"On a CPU, {what} the kernel of a 1x1 convolution with strides and fewer "
            f"than {CHANNELS} input channels. Train with JAX, on a GPU, with a wider "
            f"network, or set {remedy}, which is slower. Received: {', '.join(names)}",
            stacklevel=3,
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
