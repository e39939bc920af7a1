"""Noisy Feature Mixup for Keras 3."""

from nfm_keras import networks
from nfm_keras.evaluation import evaluate
from nfm_keras.mixing import Draw, Mixing, NoisyFeatureMixup, mixing_scope
from nfm_keras.sites import find_sites, insert_sites, remove_sites, site_layers
from nfm_keras.trainer import NFMModel

__version__ = "0.1.0"
__all__ = [
    "Draw",
    "Mixing",
    "NFMModel",
    "NoisyFeatureMixup",
    "evaluate",
    "find_sites",
    "insert_sites",
    "mixing_scope",
    "networks",
    "remove_sites",
    "site_layers",
]
