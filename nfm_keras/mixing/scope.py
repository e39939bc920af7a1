"""The draw in force, thread by thread."""

import contextlib
import threading

from nfm_keras.mixing.draw import Draw, Mixing


class _Scopes(threading.local):
    def __init__(self):
        self.stack = []


# Thread-local, since the replicas of a distribution strategy are traced in
# threads of their own and would overwrite each other's draw.
_SCOPES = _Scopes()


@contextlib.contextmanager
def mixing_scope(mixing: Mixing, draw: Draw, layers):
    """Puts a draw in force for the forward passes inside the `with` block.

    `NFMModel` opens it around its training step; a training loop of your own
    does the same. Outside every scope a `NoisyFeatureMixup` layer is silent.

    Args:
        mixing: The `Mixing`.
        draw: A `Draw` of it.
        layers: The `NoisyFeatureMixup` layers that `draw.site` counts through.

    Example:

        with mixing_scope(mixing, draw, site_layers(model, mixing.sites)):
            logits = model(images, training=True)
    """
    _SCOPES.stack.append((mixing, draw, tuple(layers)))
    try:
        yield
    finally:
        _SCOPES.stack.pop()


def current_scope():
    """Returns `(mixing, draw, layers)` of the scope in force, or `None`."""
    return _SCOPES.stack[-1] if _SCOPES.stack else None
