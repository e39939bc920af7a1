"""Attacks on the plain classifier, in units of [0,1] pixels.

An attack is a value: `PGD(epsilon=8/255, steps=20)(classifier, images, labels)`. What
it returns does not depend on the batch size or on the order of the images: all that is
random is drawn from (seed, attack, image index, restart) alone.
"""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
