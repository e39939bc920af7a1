"""Warns of the one convolution whose gradient PyTorch gets wrong on a CPU."""

import warnings

import keras

from nfm_keras.backend import keras_private

CHANNELS = 8
"""Input channels from which on the gradients were right."""


def warn_of_wrong_gradients(model):
    """Warns of convolutions that PyTorch 2.13.0 does not train rightly on a CPU.

    The gradient of the kernel of a 1x1 convolution with strides, of channels-last
    images with fewer than 8 channels, is off by as much as its own size, and another
    one each time. That by the images is right, so attacks are. Other backends, GPUs and
    more channels are not concerned.

    Args:
        model: Built `keras.Model`.
    """
    if keras.backend.backend() != "torch":
        return
    import torch

    if torch.cuda.is_available() or not torch.backends.mkldnn.enabled:
        return
    layers = keras_private.nested_layers(model)
    names = [layer.name for layer in layers if _concerned(layer)]
    if names:
        warnings.warn(
            "On a CPU, PyTorch (2.13.0) computes wrong gradients for the kernel of a "
            f"1x1 convolution with strides and fewer than {CHANNELS} input channels. "
            "Train with TensorFlow or JAX, on a GPU, with a wider network, or set "
            "torch.backends.mkldnn.enabled = False, which is slower. "
            f"Received: {', '.join(names)}",
            stacklevel=3,
        )


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
