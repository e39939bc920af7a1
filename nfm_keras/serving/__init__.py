"""Export and serving: SavedModels, ONNX and LiteRT files, clients."""

from nfm_keras import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, __file__)
