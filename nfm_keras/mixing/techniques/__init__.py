"""What stands beside the method: other ways to mix, perturb and compare."""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
