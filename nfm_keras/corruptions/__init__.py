"""The 19 common corruptions of CIFAR-10-C and ImageNet-C, a batch at a time."""

from nfm_keras.corruptions.constants import EXTRA, NAMES, PAPER, SEVERITIES, STANDARD
from nfm_keras.corruptions.corruption import VERSION, Corruption
from nfm_keras.corruptions.frost import frost_source

__all__ = [
    "EXTRA",
    "NAMES",
    "PAPER",
    "SEVERITIES",
    "STANDARD",
    "VERSION",
    "Corruption",
    "frost_source",
]
