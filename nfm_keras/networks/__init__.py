"""Functional networks with sites built in, by name.

Every builder takes `(input_shape, num_classes, width, mean, std)`, returns a
`keras.Model` that maps [0, 1] images to logits and normalises inside, and names
its sites `site_0` (the normalised input), `site_1`, ... (stage outputs).
"""

import difflib

from nfm_keras.networks.mlp import mlp
from nfm_keras.networks.preact_resnet import preact_resnet18, small_resnet

NETWORKS = {
    "preact_resnet18": preact_resnet18,
    "small_resnet": small_resnet,
    "mlp": mlp,
}


def build(name, input_shape, num_classes, width=1.0, **options):
    """Builds a network by name.

    Args:
        name: One of `NETWORKS`.
        input_shape: Shape of one sample, `(height, width, channels)` or `(features,)`.
        num_classes: Number of logits.
        width: Multiplies the channels: 1 is the published network, 2 its
            double-width twin, 0.25 a stem of 16 channels.
        **options: Passed to the builder.

    Raises:
        ValueError: For an unknown name, or a width that leaves no channel.

    Example:

    >>> model = build("preact_resnet18", (32, 32, 3), 10, width=0.25)
    """
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, n=3) or list(NETWORKS)
        raise ValueError(
            f"Unknown network. Expected one of: {', '.join(near)}. Received: {name!r}"
        )
    if not width > 0:
        raise ValueError(f"`width` must be positive. Received: width={width}")
    try:
        return NETWORKS[name](tuple(input_shape), num_classes, width=width, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise ValueError(
            f"Network '{name}' must have the options it is given. Received: {error}"
        ) from None
