"""What is written down: scores, evaluations, runs, and the files they are in."""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
