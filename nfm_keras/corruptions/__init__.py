"""The 19 common corruptions of CIFAR-10-C and ImageNet-C, a batch at a time."""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
