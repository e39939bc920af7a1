"""Experiments as data: which runs, in which rows, against which published numbers."""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
