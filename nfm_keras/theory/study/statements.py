"""Each printed statement that fails beside the one that holds, as numbers to draw.

Small networks in float64 whose losses, margins and distances are known exactly or by
many samples: nothing here is about a trained classifier.
"""

import keras
import numpy as np
from keras import layers, ops

from nfm_keras.mixing import Mixing
from nfm_keras.theory import perturbed
from nfm_keras.theory.adversarial import adversarial_bound
from nfm_keras.theory.expansion import check_expansion, exact_loss
from nfm_keras.theory.margin import margins
from nfm_keras.theory.split import Split
from nfm_keras.theory.total_variation import (
    printed_bound,
    sampled_total_variation,
    total_variation_bound,
)

EPSILONS = tuple(2e-3 * 4.0**k for k in range(5))
"""Scales of the expansion: slopes are read between the first two."""

_MIX = Mixing(alpha=1.0, sigma_add=0.0, sigma_mult=0.0, noise="gaussian")


def statements(seed: int = 0) -> dict:
    """Returns what the figures of the printed statements are drawn from.

    Args:
        seed: int, of networks and samples.

    Returns:
        Dict of JSON values: `expansion`, `perturbation`, `adversarial`, `margin` and
        `total_variation`, as the functions of this module return them.

    Raises:
        RuntimeError: On another backend than TensorFlow, as `check_expansion`.
    """
    return {
        "expansion": expansion(seed),
        "perturbation": perturbation(seed),
        "adversarial": adversarial(seed),
        "margin": margin(seed),
        "total_variation": total_variation(seed),
    }


def expansion(seed=0, epsilons=EPSILONS):
    """Returns errors and slopes of `check_expansion`, for each network and site.

    Args:
        seed: int.
        epsilons: Increasing; slopes are those between the first two.

    Returns:
        List of dicts with `outputs`, `site`, `epsilons`, `errors` and `slopes`.
    """
    cases = []
    for outputs in (1, 3):
        for site in ("input", "hidden"):
            found = check_expansion(outputs, site, epsilons=epsilons, seed=seed)
            start = found._replace(
                epsilons=found.epsilons[:2],
                errors={name: values[:2] for name, values in found.errors.items()},
            )
            cases.append(
                {
                    "outputs": outputs,
                    "site": site,
                    "epsilons": list(epsilons),
                    "errors": {n: v.tolist() for n, v in found.errors.items()},
                    "slopes": start.slopes(),
                }
            )
    return cases


def perturbation(seed=0, n=20_000):
    """Returns samples of Lemma 1's perturbation at one image, printed and right law.

    Of one image of four, one feature, the partner 2 away: given partner and lambda.

    Args:
        seed: int.
        n: int, samples.

    Returns:
        Dict with `samples` as counts over `edges`, and `mean` and `deviation` of the
        law that holds; that printed has mean 0 and the same deviation.
    """
    mixing = Mixing(alpha=1.0, sigma_add=0.3, sigma_mult=0.3, noise="gaussian")
    lam, own, partner = 0.6, 1.0, 3.0
    rng = np.random.default_rng(seed)
    step = (1 - lam) * (partner - own)
    noise = rng.normal(size=(2, n))
    mixed = own + step
    samples = step + mixing.sigma_add * noise[0] + mixing.sigma_mult * noise[1] * mixed
    given = perturbed.given_partner([[own]], [[partner]], lam, mixing)
    counts, edges = np.histogram(samples, bins=40, density=True)
    return {
        "n": n,
        "edges": edges.tolist(),
        "density": counts.tolist(),
        "mean": float(given.mean[0, 0]),
        "deviation": float(np.sqrt(given.covariance[0, 0, 0])),
    }


def adversarial(seed=0, epsilons=(1e-3, 1e-2, 1e-1, 1.0)):
    """Returns by how much NFM's loss is above Theorem 2's right side.

    Of two networks: one that meets every hypothesis, and cosines, which meet those
    that are printed and bend at the input.

    Args:
        seed: int.
        epsilons: Scales.

    Returns:
        Dict with `epsilons` and `gaps`, from name to gaps over epsilon squared; below
        0 the bound is violated.
    """
    cases = {
        "meets every hypothesis": _rays(seed),
        "cosines, which bend at the input": cosines(),
    }
    gaps = {name: [_gap(*case, e) for e in epsilons] for name, case in cases.items()}
    return {"epsilons": list(epsilons), "gaps": gaps}


def _gap(model, site, images, labels, logits_at, epsilon):
    bound = adversarial_bound(model, site, images, labels, _MIX, epsilon=epsilon)
    ways = (2 * labels - 1) * logits_at(bound.epsilon_mix)
    worst = np.logaddexp(0, -ways).max(axis=0)
    loss = exact_loss(Split(model, site), images, labels, _MIX, epsilon)
    return float((loss - np.mean(worst) - np.mean(bound.reg)) / epsilon**2)


def _rays(seed):
    """A ReLU network without biases; images centred, of one norm, classified right."""
    rng = np.random.default_rng(seed + 1)
    half = rng.normal(size=(3, 2))
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    images = np.concatenate([half, -half])
    labels = np.zeros(6, int)
    while len(set(labels.tolist())) < 2:  # a network may be of one sign on all six
        model = _dense(rng.normal(size=(2, 8)), rng.normal(size=(8, 1)))
        labels = (ops.convert_to_numpy(model(images))[:, 0] > 0).astype(int)
    angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)[:, None]

    def logits_at(radius):  # 8 rings of 256 directions
        rings = [share * radius[:, None] * circle for share in np.linspace(0, 1, 9)[1:]]
        points = images + np.concatenate(rings)
        found = ops.convert_to_numpy(model(points.reshape(-1, 2)))
        return found.reshape(len(points), len(images))

    return model, "input", images, labels, logits_at


def cosines():
    """Returns the counterexample to Theorem 2: features (cos x, sin x), a linear layer.

    Returns:
        `(model, site, inputs, labels, logits_at)`; the last is a function of a radius,
        the logits of inputs moved by up to that.
    """
    inputs = keras.Input((1,), dtype="float64")
    features = layers.Lambda(
        lambda x: ops.concatenate([ops.cos(x), ops.sin(x)], axis=1),
        name="circle",
        dtype="float64",
    )(inputs)
    layer = layers.Dense(1, use_bias=False, dtype="float64")
    model = keras.Model(inputs, layer(features))
    layer.set_weights([np.array([[1.0], [0.0]])])
    x = 0.3 + np.arange(4)[:, None] * np.pi / 2

    def logits_at(radius):
        return np.cos(x[:, 0] + np.linspace(-1, 1, 33)[:, None] * radius)

    labels = (np.cos(x[:, 0]) > 0).astype(int)
    return model, "circle", x, labels, logits_at


def margin(seed=0, count=24):
    """Returns margins of linear networks of two logits, and Proposition 1's bounds.

    Args:
        seed: int.
        count: int, points.

    Returns:
        Dict with lists `true`, `printed` and `corrected`, sorted by the first.
    """
    rng = np.random.default_rng(seed)
    kernel, points = rng.normal(size=(2, 2)), rng.normal(size=(count, 2))
    kernel[:, 1] = -kernel[:, 0]
    labels = (points @ kernel).argmax(axis=1)
    found = margins(_dense(kernel), points, labels)
    slope = np.linalg.norm(kernel[:, 0] - kernel[:, 1])
    true = abs(points @ (kernel[:, 0] - kernel[:, 1])) / slope
    order = np.argsort(true)
    columns = ("true", true), ("printed", found.printed)
    columns = *columns, ("corrected", found.corrected)
    return {name: np.asarray(values)[order].tolist() for name, values in columns}


def total_variation(seed=0, n=20_000):
    """Returns Theorem 5's distance and its bounds over the size of a perturbation.

    Args:
        seed: int.
        n: int, samples of a distance.

    Returns:
        List of dicts, one a pair of noise levels: `sigma_add`, `sigma_mult`, and lists
        `distance`, `sampled`, `bound` and `printed`.
    """
    z, cases = np.array([1.0, 0.5]), []
    sizes = np.linspace(0, 1.5, 13)
    for mult in (0.0, 0.2):
        levels = 0.4, mult
        taus = [size * np.array([0.6, -0.8]) for size in sizes]
        drawn = [sampled_total_variation(z, t, *levels, n=n, seed=seed) for t in taus]
        cases.append(
            {
                "sigma_add": levels[0],
                "sigma_mult": levels[1],
                "distance": sizes.tolist(),
                "sampled": [value for value, _ in drawn],
                "bound": [total_variation_bound(z, t, *levels) for t in taus],
                "printed": [printed_bound(z, t, *levels) for t in taus],
            }
        )
    return cases


def _dense(*kernels):
    x = inputs = keras.Input((len(kernels[0]),), dtype="float64")
    for number, kernel in enumerate(kernels, start=1):
        last = number == len(kernels)
        activation = None if last else "relu"
        layer = layers.Dense(
            kernel.shape[1], activation, use_bias=False, dtype="float64"
        )
        x = layer(x)
        layer.set_weights([kernel])
    return keras.Model(inputs, x)
