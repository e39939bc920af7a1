"""Noisy Feature Mixup for Keras 3.

Names resolve on first use: `import nfm_keras` imports neither Keras nor NumPy.
"""

from nfm_keras import lazy, registration

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)

registration.register_with_keras()
