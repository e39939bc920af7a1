"""The decision boundary of each scheme on two noisy circles, with margins."""

import keras
import numpy as np
from keras import ops
from sklearn.datasets import make_circles

from nfm_keras import networks
from nfm_keras.mixing import NFMModel, find_sites, schemes
from nfm_keras.theory.margin import margins
from nfm_keras.theory.study.classifier import MOST

SCHEMES = ("erm", "mixup", "manifold_mixup", "nfm")
EXTENT = 2.2
"""Half a side of the square that is drawn, around the origin."""

_POINTS, _FACTOR, _NOISE = 300, 0.05, 0.3  # as in the paper's toy


def boundaries(
    seed: int = 0, *, epochs: int = 300, side: int = 61, shown: int = 50
) -> dict:
    """Trains the paper's toy network with each scheme and returns what to draw.

    Args:
        seed: int, of points, weights and draws.
        epochs: int.
        side: int. Points of the grid along a side.
        shown: int. Points whose margins are returned; all 300 are trained on.

    Returns:
        Dict with `points` `(shown, 2)`, `labels`, and for each of `schemes` `accuracy`
        in percent of other points of the same law, `grid`, `side` rows of `side`
        numbers in a string, the logit of class 1 less that of class 0, from the lowest
        y, and `margins`, the linearised ones in units of the plane, 0 where a point is
        misclassified.
    """
    points, labels = _circles(seed)
    others = _circles(seed + 10_000)
    axis = np.linspace(-EXTENT, EXTENT, side)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    drawn = {}
    for scheme in SCHEMES:
        keras.utils.set_random_seed(seed)
        network = networks.mlp((2,), 2)
        model = NFMModel(network, schemes.mixing(scheme, find_sites(network)))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss)
        model.fit(points, labels, 100, epochs=epochs, verbose=0)
        found = margins(network, points[:shown], labels[:shown])
        right = _gaps(network, others[0]) > 0
        drawn[scheme] = {
            "accuracy": 100 * float(np.mean(right == others[1])),
            "grid": _rows(_gaps(network, grid).reshape(side, side)),
            "margins": np.round(np.minimum(found.linearised, MOST), 4).tolist(),
        }
    return {
        "seed": seed,
        "epochs": epochs,
        "points": np.round(points[:shown], 4).tolist(),
        "labels": labels[:shown].tolist(),
        "schemes": drawn,
    }


def _circles(seed):
    points, labels = make_circles(
        _POINTS, factor=_FACTOR, noise=_NOISE, random_state=seed
    )
    return points.astype("float32"), labels


def _gaps(network, points):
    logits = ops.convert_to_numpy(network(points.astype("float32"), training=False))
    return logits[:, 1].astype("float64") - logits[:, 0]


def _rows(grid):
    return [" ".join(f"{value:.2f}" for value in row) for row in grid]
