"""Functional networks with sites built in, by name.

Every builder takes `(input_shape, num_classes, width, mean, std)`, returns a
`keras.Model` that maps [0, 1] images to logits and normalises inside. Our own networks
name their sites `site_0` (the normalised input), `site_1`, ... (outputs of stages,
groups or blocks, all but the last); those of other packages have `site_input`, before
the normalisation, and `backbone/site_LAYER`.
"""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
