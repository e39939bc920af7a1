"""From a config to a run that goes on after a kill."""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
