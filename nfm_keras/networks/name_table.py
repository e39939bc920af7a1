"""The names of networks; to import this module takes no Keras."""

import types

from nfm_keras.networks.backbone_tables import APPLICATIONS, KERAS_CV, KERAS_HUB

OWN = types.MappingProxyType(
    {
        "preact_resnet18": "preact_resnet",
        "small_resnet": "preact_resnet",
        "wide_resnet28_10": "wide_residual",
        "wide_resnet": "wide_residual",
        "resnet50": "resnet",
        "resnet101": "resnet",
        "vit_lite7_4": "vision_transformer",
        "vit_lite": "vision_transformer",
        "vit_s16": "plain_vit",
        "mlp": "perceptron",
    }
)
"""Name of a network of ours -> the module here that has its builder, of that name."""

FAMILIES = types.MappingProxyType(
    {"applications": APPLICATIONS, "keras_cv": KERAS_CV, "keras_hub": KERAS_HUB}
)
"""Family -> its backbones by name."""


def names() -> tuple[str, ...]:
    """Returns the names of all networks: ours, then `"FAMILY/NAME"` of others.

    Example:

    >>> {"preact_resnet18", "keras_cv/resnet18_v2"} <= set(names())
    True
    """
    return (*OWN, *backbones())


def backbones() -> tuple[str, ...]:
    """Returns the names of all backbones, `"FAMILY/NAME"`, without importing any.

    Example:

    >>> "applications/efficientnetv2_b0" in backbones()
    True
    """
    return tuple(f"{family}/{name}" for family in FAMILIES for name in FAMILIES[family])
