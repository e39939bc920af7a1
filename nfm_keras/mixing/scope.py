"""The draw in force: what the layers at the sites ask for, thread by thread."""

import contextlib
import threading
from collections.abc import Iterable, Iterator

import keras

from nfm_keras.mixing.draw import Draw, Mixing


class _Scopes(threading.local):
    """The scopes of a thread, the inner ones last."""

    def __init__(self):
        self.stack = []


# Thread-local, since the replicas of a distribution strategy are traced in
# threads of their own and would overwrite each other's draw.
_SCOPES = _Scopes()


@contextlib.contextmanager
def mixing_scope(
    mixing: Mixing, draw: Draw, layers: Iterable[keras.Layer]
) -> Iterator[None]:
    """Puts a draw in force for the forward passes inside the `with` block.

    `NFMModel` opens it around its training step; a training loop of your own
    does the same. Outside every scope a `NoisyFeatureMixup` layer is silent.

    Args:
        mixing: The `Mixing`.
        draw: A `Draw` of it.
        layers: The `NoisyFeatureMixup` layers that `draw.site` counts through.

    Example:

    >>> import nfm_keras as nfm
    >>> model, mixing = nfm.networks.mlp((2,), 2), Mixing()
    >>> sites, points = nfm.site_layers(model), keras.ops.ones((8, 2))
    >>> draw = mixing.draw(seed=0, step=0, batch_size=8, num_sites=len(sites))
    >>> with mixing_scope(mixing, draw, sites):
    ...     logits = model(points, training=True)
    """
    _SCOPES.stack.append((mixing, draw, tuple(layers)))
    try:
        yield
    finally:
        _SCOPES.stack.pop()


def current_scope() -> tuple[Mixing, Draw, tuple] | None:
    """Returns the scope in force.

    Returns:
        `(mixing, draw, layers)` as `mixing_scope` was given them; `None` outside of
        every scope.
    """
    return _SCOPES.stack[-1] if _SCOPES.stack else None
