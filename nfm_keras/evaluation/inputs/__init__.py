"""What an evaluation is given: data sets of every kind, and the logits that count."""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
