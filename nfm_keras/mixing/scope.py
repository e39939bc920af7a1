"""The draw in force: what the layers at the sites ask for, thread by thread."""

import contextlib
import threading
from collections.abc import Iterable, Iterator

import keras
from keras import ops, tree

from nfm_keras.backend import keras_private
from nfm_keras.mixing.draw import Draw, Mixing
from nfm_keras.mixing.interpolation import partners


class Scope:
    """A draw in force.

    Attributes:
        mixing: The `Mixing`.
        draw: Its `Draw`.
        layers: Tuple of the layers that `draw.site` counts through.
        known: All layers that may be met; `None` where that is not known.
    """

    def __init__(self, mixing, draw, layers, known=None):
        self.mixing, self.draw, self.layers = mixing, draw, tuple(layers)
        self.known = known
        self._own_masks = []  # (mask of a mixed batch, that of its own samples)

    @property
    def always(self):
        """Whether the site does its work whatever is drawn: there is no other."""
        return len(self.layers) == 1 and self.mixing.probability == 1

    def index(self, layer):
        """Returns the number of a site; `None` of one that this draw leaves out.

        Raises:
            ValueError: For a site that is not known: it would never be drawn.
        """
        for index, other in enumerate(self.layers):
            if other is layer:
                return index
        if self.known is not None and not any(layer is x for x in self.known):
            raise ValueError(
                "A site must be held where Keras finds it: as an attribute of a layer "
                "or a model, or in a list or dict that is one. Received: site "
                f"{layer.name!r}, which is called but not found"
            )
        return None

    def union(self, mask, index):
        """Returns the mask of a batch that is mixed.

        Args:
            mask: bool tensor `(batch, ...)`.
            index: Number of the site.

        Returns:
            Like `mask`: also what the partners show.
        """
        if not self.mixing.mixes:
            return mask
        # Of a lone site too: a schedule may have turned it off.
        active = ops.equal(self.draw.site, index)
        partner = partners(mask, self.draw.partner)
        union = ops.logical_or(mask, ops.logical_and(partner, active))
        self._own_masks.append((union, self.own_mask(mask)))
        return union

    def own_mask(self, mask):
        """Returns the mask that the samples themselves had, before any was mixed.

        Args:
            mask: bool tensor, as `union` returned it; another is its own.
        """
        for union, own in self._own_masks:
            if union is mask:
                return own
        found = mask
        # A layer that merges several inputs makes a mask anew, of the same values; it
        # cannot be told from another input's that is the same in the whole batch.
        for union, own in self._own_masks:
            found = _where_equal(mask, union, own, found)
        return found


def _where_equal(mask, union, own, other):
    """`own` where two masks are the same throughout, `other` where they are not."""
    if len(mask.shape) != len(union.shape):
        return other
    sizes = list(zip(ops.shape(mask), ops.shape(union)))
    if any(a != b for a, b in sizes if isinstance(a, int) and isinstance(b, int)):
        return other
    same = True
    for axis, (size, given) in enumerate(sizes):
        if isinstance(size, int) and isinstance(given, int):
            continue
        # What is compiled has one shape, also where this is another mask's.
        places = ops.minimum(ops.arange(size, dtype="int32"), given - 1)
        union, own = (ops.take(each, places, axis=axis) for each in (union, own))
        same = ops.logical_and(same, ops.equal(size, given))
    same = ops.logical_and(same, ops.all(ops.equal(mask, union)))
    return ops.where(same, own, other)


class _Scopes(threading.local):
    """The scopes of a thread, the inner ones last."""

    def __init__(self):
        self.stack = []


# Thread-local, since the replicas of a distribution strategy are traced in
# threads of their own and would overwrite each other's draw.
_SCOPES = _Scopes()


@contextlib.contextmanager
def mixing_scope(
    mixing: Mixing,
    draw: Draw,
    layers: Iterable[keras.Layer],
    known: Iterable[keras.Layer] | None = None,
) -> Iterator[None]:
    """Puts a draw in force for the forward passes inside the `with` block.

    `NFMModel` opens it around its training step; a training loop of your own
    does the same. Outside every scope a `NoisyFeatureMixup` layer is silent.

    Args:
        mixing: The `Mixing`.
        draw: A `Draw` of it.
        layers: The `NoisyFeatureMixup` layers that `draw.site` counts through.
        known: All such layers of the model, of which `layers` may be some. One that
            is called and is none of them is an error then.

    Example:

    >>> import nfm_keras as nfm
    >>> model, mixing = nfm.networks.mlp((2,), 2), Mixing()
    >>> sites, points = nfm.site_layers(model), keras.ops.ones((8, 2))
    >>> draw = mixing.draw(seed=0, step=0, batch_size=8, num_sites=len(sites))
    >>> with mixing_scope(mixing, draw, sites):
    ...     logits = model(points, training=True)
    """
    _SCOPES.stack.append(Scope(mixing, draw, layers, known))
    try:
        yield
    finally:
        _SCOPES.stack.pop()


def current_scope() -> Scope | None:
    """Returns the scope in force.

    Returns:
        `Scope`; `None` outside of every scope.
    """
    return _SCOPES.stack[-1] if _SCOPES.stack else None


def give_own_masks(outputs):
    """Gives the outputs of a network the masks of the samples themselves.

    Within it a mixed sample has the union of two masks; a label counts where its own
    sample has something.

    Args:
        outputs: Structure of tensors.
    """
    scope = current_scope()
    for tensor in () if scope is None else tree.flatten(outputs):
        mask = keras_private.mask_of(tensor)
        if mask is not None:
            keras_private.set_mask(tensor, scope.own_mask(mask))
