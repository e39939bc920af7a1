"""The paper's theory as running code: each statement in the form that holds."""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
