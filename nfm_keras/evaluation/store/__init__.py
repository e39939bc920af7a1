"""What was measured before, on disk, and what it is recognised by."""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
