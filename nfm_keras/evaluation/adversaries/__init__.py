"""What is done with the images that attacks find: kept, tried on others, measured."""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
