"""The method: what is drawn, where it mixes, and the model that trains with it."""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
