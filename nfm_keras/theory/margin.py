"""Proposition 1: a lower bound of the margin, with its factor and its supremum mended.

The printed bound, score / sup |J| with score = sqrt(2) min_j (f_c - f_j), is twice the
true margin of a linear network of two classes: since |e_c - e_j| = sqrt(2), the scores
differ by at most 2 |J| r. And the supremum has to be over the ball, not over the convex
hull of the images; over some points of it, it is no bound at all.
"""

import dataclasses

import keras
import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.attacks import FAB
from nfm_keras.backend import keras_private
from nfm_keras.backend.inner import network_of
from nfm_keras.mixing import NoisyFeatureMixup
from nfm_keras.theory.labels import targets_of
from nfm_keras.theory.split import Split

_LIPSCHITZ = ("linear", "relu", "tanh", "leaky_relu", "softsign")
_IDENTITIES = (
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.InputLayer,
    NoisyFeatureMixup,
)


@dataclasses.dataclass(frozen=True)
class Margins:
    """Margins of images, l2, in units of the input; 0 where one is misclassified.

    Attributes:
        scores: `(n,)`, Definition 3: sqrt(2) min_j (f_c - f_j), in logits.
        linearised: `(n,)`, min_j (f_c - f_j) / |grad (f_c - f_j)| at the image. What a
            linear network would have; no bound.
        bound: `(n,)`, min_j (f_c - f_j) / Lip(f_c - f_j), a bound; None where no
            Lipschitz constant of the network is known.
        corrected: `(n,)`, score / (2 Lip f), equation (101) mended; or None. Of one
            logit, |f| / Lip f.
        printed: `(n,)`, score / Lip f, equation (101) as printed, which is too large.
    """

    scores: np.ndarray
    linearised: np.ndarray
    bound: np.ndarray | None
    corrected: np.ndarray | None
    printed: np.ndarray | None


def margins(
    model: keras.Model, images: ArrayLike, labels: ArrayLike, *, batch_size: int = 64
) -> Margins:
    """Returns score, linearised margin and bounds of each image.

    The supremum of the Jacobian is bounded by the product of the spectral norms of the
    layers, which holds everywhere; for deep networks it is far too large, and the
    bound close to 0.

    Args:
        model: Gives logits `(n, K)`; K = 1 is the binary form.
        images: `(n, ...)`.
        labels: `(n,)` integers.
        batch_size: int.

    Returns:
        `Margins`.

    Raises:
        ValueError: As `regularizers`.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> model.layers[0].set_weights([np.array([[3.0, 0.0], [0.0, 4.0]]), np.zeros(2)])
    >>> margins(model, [[1.0, 0.0], [0.0, 1.0]], [0, 1]).bound  # 3/5 and 4/5
    array([0.6, 0.8])

    Reference: Lim et al. 2021, Definitions 2 and 3, Proposition 1.
    """
    return margins_of(
        Split(model, "input", batch_size=batch_size), model, images, labels
    )


def margins_of(split: Split, model: keras.Model, images: ArrayLike, labels: ArrayLike):
    """Returns `margins` by a `Split` of the model at its input, compiled before."""
    x = split.features(images)
    logits = split.logits(x)
    own = _classes(targets_of(labels, split.outputs, least=1, count=len(x)), len(x))
    gaps, rows = _gaps(logits, own)
    lows = np.maximum(gaps.min(axis=1), 0)
    sizes = [np.linalg.norm(split.pullback(x, r), axis=1) for r in rows]
    ratio = _over(gaps, np.stack(sizes, axis=1))
    scores = np.sqrt(2) * lows
    bound = corrected = printed = None
    norms = layer_norms(model)
    if norms is not None:
        before, last = norms
        whole = before * np.linalg.norm(last, 2)
        pairs = np.stack([np.linalg.norm(r @ last.T, axis=1) for r in rows], axis=1)
        bound = np.maximum(_over(gaps, before * pairs).min(axis=1), 0)
        printed = scores / whole
        corrected = printed / 2 if split.outputs > 1 else lows / whole
    return Margins(scores, np.maximum(ratio.min(axis=1), 0), bound, corrected, printed)


def fab_margins(
    model: keras.Model,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    steps: int = 30,
    seed: int = 0,
) -> np.ndarray:
    """Returns the l2 distance to the nearest misclassified image that FAB finds.

    An upper bound of the margin within [0, 1]: 0 where the image is misclassified, and
    infinite where none is found.

    Args:
        model: Takes images in [0, 1], gives logits of two classes at least.
        images: `(n, ...)`.
        labels: `(n,)` integers.
        steps: int, as in `nfm_keras.attacks.FAB`.
        seed: int.
    """
    classes = int(model.outputs[0].shape[-1])
    attack = FAB(epsilon=0.5, norm="l2", steps=steps, targets=min(9, classes - 1))
    found = attack.nearest(model, images, labels, seed=seed, from_logits=True)
    return np.asarray(found[1], "float64")


def layer_norms(model):
    """Returns the product of spectral norms of all layers but the last, and its kernel.

    Args:
        model: `keras.Model`.

    Returns:
        `(float, (d, K) array)`, or None for a model that is not a chain of dense layers
        with activations of slope at most 1.
    """
    model = network_of(model)
    product, kernel, ended = 1.0, None, False
    for layer, taken, given in keras_private.graph_calls(keras_private.graph_of(model)):
        if isinstance(layer, _IDENTITIES) and len(taken) <= 1:
            continue
        name = getattr(getattr(layer, "activation", None), "__name__", "")
        known = type(layer) is keras.layers.Dense and name in _LIPSCHITZ
        if not known or ended or keras_private.number_of_calls(model, layer) > 1:
            return None
        if kernel is not None:
            product *= float(np.linalg.norm(kernel, 2))
        kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel), "float64")
        ended = given[0] is model.outputs[0]
        if ended and name != "linear":
            return None
    return (product, kernel) if ended else None


def _classes(targets, n):
    """The class of each image."""
    if targets.shape[1] == 1:
        return targets[:, 0].astype(int)
    return targets.argmax(axis=1)


def _gaps(logits, own):
    """f_c - f_j for each other class j, `(n, K - 1)`, and the rows that give them."""
    n, outputs = logits.shape
    if outputs == 1:
        rows = np.where(own == 1, 1.0, -1.0)[:, None]
        return rows * logits, [rows]
    unit = np.eye(outputs)
    rows = [unit[own] - unit[(own + j) % outputs] for j in range(1, outputs)]
    return np.stack([np.sum(r * logits, axis=1) for r in rows], axis=1), rows


def _over(gaps, sizes):
    """Quotients, infinite where a gap is above 0 and cannot change."""
    endless = np.where(gaps > 0, np.inf, gaps)
    return np.divide(gaps, sizes, out=endless, where=sizes > 0)
