"""Everything that the theory measures of one classifier, as a record to draw from."""

from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike

from nfm_keras.attacks import PGD
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.backend.inner import network_of
from nfm_keras.backend.unit_range import unit_range
from nfm_keras.evaluation import calibration as reliable
from nfm_keras.evaluation import noise, smoothing
from nfm_keras.evaluation.inputs import passes
from nfm_keras.mixing import Mixing
from nfm_keras.theory.adversarial import adversarial_bound
from nfm_keras.theory.calibration import calibrate
from nfm_keras.theory.margin import fab_margins, margins
from nfm_keras.theory.moments import mixing_moments
from nfm_keras.theory.split import Split
from nfm_keras.theory.terms import regularizers
from nfm_keras.theory.total_variation import certified_distance, feature_epsilon

TERMS = ("r1", "r2", "r2_add", "r2_mult", "r3", "r3_add", "r3_mult")
"""Names of the terms, in the order of the paper."""

SIGMA, COPIES = 0.1, 200
"""Randomised smoothing: standard deviation on [0, 1] pixels, and noisy copies."""

NOISY = "white_noise@0.4"
"""The corruption that calibration is looked at under, in the reference protocol."""

MOST = 1e6
"""What an infinite margin is written as: of an image where no gradient is left."""

_BATCH = 250  # images
DRAWS = 16  # of the noise at a hidden site


class Images(NamedTuple):
    """Images in [0, 1] and integer labels."""

    images: np.ndarray
    labels: np.ndarray


def measure(
    model: keras.Model,
    sites: list[str],
    train: Images,
    scored: Images,
    held_out: Images,
    *,
    mixing: Mixing | None = None,
    probes: int = 2,
    seed: int = 0,
    epsilon: float = 8 / 255,
    std: ArrayLike | None = None,
    two_classes: bool = True,
    certified: int = 100,
) -> dict[str, Any]:
    """Returns regularisers, margins, hypotheses, stability and calibration.

    Args:
        model: As `Split` takes it, of two classes at least.
        sites: Names, as `Split` takes them.
        train: `Images` for regularisers and margins.
        scored: `Images` for calibration and certification.
        held_out: Other `Images`, to fit the temperature on.
        mixing: `Mixing` whose terms are measured; `Mixing()` by default.
        probes, seed: As in `regularizers`.
        epsilon: float. Radius of the attack whose images are looked at at the sites,
            l-infinity, in [0, 1] pixels.
        std: As `nfm_keras.evaluation.noise` takes it.
        two_classes: bool. Whether Theorem 2 is looked at, which takes longest.
        certified: int. Certify so many of the scored images.

    Returns:
        Dict of JSON values: `sites`, `margins`, `theorem_2`, `certified` and
        `calibration`, as the functions of this module return them.

    Raises:
        ValueError: As `regularizers`.
    """
    # What is analysed is what is attacked: a network of [0, 255] as one of [0, 1].
    model, mixing = unit_range(network_of(model)), mixing or Mixing()
    _check_shape(model, train.images)
    splits = {site: Split(model, site) for site in sites}  # refuses sites and outputs
    attack = PGD(epsilon=epsilon)
    moved = attack(model, *train, seed=seed, from_logits=True).images
    attacked = attack(model, *(part[:certified] for part in scored), seed=seed)
    found = {}
    for site, split in splits.items():
        found[site] = _site(split, train, moved, mixing, probes, seed)
        smoothed = split, scored, attacked.images, mixing, seed
        found[site]["smoothed"] = _smoothed(*smoothed)
    return {
        "sites": found,
        "margins": _margins(model, train, seed),
        "theorem_2": _theorem_2(model, sites, train, mixing) if two_classes else {},
        "certified": _certified(model, scored, certified, seed),
        "calibration": _calibration(model, scored, held_out, seed, std),
    }


def _check_shape(model, images):
    taken = model.inputs[0].shape[1:]
    alike = [size in (None, side) for size, side in zip(taken, images.shape[1:])]
    if len(taken) != images.ndim - 1 or not all(alike):
        raise ValueError(
            "The images must have the shape that the classifier takes. Expected: "
            f"{taken}. Received: {images.shape[1:]}"
        )


def _site(split, train, moved, mixing, probes, seed):
    options = {"method": "finite", "probes": probes, "seed": seed}
    found = regularizers(split, None, *train, mixing, **options)
    terms = {}
    for name in TERMS:
        factor = getattr(found.moments, name.partition("_")[2] or "m1")
        scale = factor if "_" in name else 1.0
        terms[name] = [scale * value for value in getattr(found, name)]
    stable = _stability(split, train.images, moved, mixing, seed)
    return {"loss": found.loss, "terms": terms, "stability": stable}


def _stability(split, images, moved, mixing, seed):
    """Theorem 5 on pairs of images and adversarial ones: measurements, not bounds."""
    law = mixing_moments(mixing)
    levels = float(np.sqrt(law.add)), float(np.sqrt(law.mult))
    g = split.features(images)
    distance = float(np.median(np.linalg.norm(split.features(moved) - g, axis=1)))
    size = float(np.max(abs(g)))
    rng = np.random.default_rng(seed)
    counts = np.zeros((len(g), max(split.outputs, 2)))
    for _ in range(DRAWS):
        add, mult = rng.normal(size=(2, *g.shape))
        logits = split.logits((1 + levels[1] * mult) * g + levels[0] * add)
        if split.outputs == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        counts[np.arange(len(g)), logits.argmax(axis=1)] += 1
    shares = np.sort(counts / DRAWS, axis=1)
    gap = float(np.median(shares[:, -1] - shares[:, -2]))
    return {
        "sigma_add": levels[0],
        "sigma_mult": levels[1],
        "distance": distance,
        "size": size,
        "epsilon_k": feature_epsilon(distance, size, *levels),
        "gap": gap,
        "certified_distance": certified_distance(gap, size, *levels),
    }


def _smoothed(split, scored, attacked, mixing, seed):
    """Randomised smoothing of what follows a site, in units of its features."""
    count, sigma = len(attacked), float(np.sqrt(mixing_moments(mixing).add))
    g = split.features(scored.images[:count])
    low, span = float(g.min()), float(np.ptp(g)) or 1.0
    made = smoothing.certify(
        # `certify` takes images in [0, 1]: the features are moved there, and back.
        lambda rows: split.after(span * rows + low, training=False),
        np.clip((g - low) / span, 0, 1).astype("float32").reshape(-1, *split.shape),
        scored.labels[:count],
        sigma=sigma / span,
        n0=20,
        n=COPIES,
        seed=seed,
    )
    radii = span * made.radii
    moved = np.linalg.norm(split.features(attacked) - g, axis=1)
    return {
        "sigma": sigma,
        "copies": COPIES,
        "images": count,
        "accuracy": made.certified_accuracy(0.0),
        "radius": float(np.mean(radii * made.correct)),
        "moved": float(np.median(moved)),
        "beyond": 100.0 * float(np.mean(made.correct & (radii > moved))),
    }


def _margins(model, train, seed):
    found = margins(model, *train)
    nearest = fab_margins(model, *train, seed=seed)
    bound = None if found.bound is None else np.minimum(found.bound, MOST).tolist()
    return {
        "right": 100 * float(np.mean(found.scores > 0)),
        "scores": found.scores.tolist(),
        "linearised": np.minimum(found.linearised, MOST).tolist(),
        "bound": bound,
        "fab": np.minimum(nearest, MOST).tolist(),
    }


def _theorem_2(model, sites, train, mixing):
    """The two most frequent classes alone: the theorem is about two."""
    classes = np.argsort(-np.bincount(train.labels), kind="stable")[:2]
    chosen = np.isin(train.labels, classes)
    labels = (train.labels[chosen] == classes[1]).astype(int)
    if model.outputs[0].shape[-1] > 1:  # of two classes too: the order may be another
        logits = keras.ops.take(model.outputs[0], classes.tolist(), axis=-1)
        model = keras.Model(model.inputs[0], logits)
    found = {}
    for site in sites:
        given = model, site, train.images[chosen], labels, mixing
        bound = adversarial_bound(*given)
        found[site] = {
            "n": int(chosen.sum()),
            "classes": classes.tolist(),
            "applies": bound.applies,
            "epsilon_mix": float(np.median(bound.epsilon_mix)),
            "linearised_margin": float(np.median(bound.linearised_margin)),
            "reg": float(np.mean(bound.reg)),
            "hypotheses": [h._asdict() for h in bound.hypotheses],
        }
    return found


def _certified(model, scored, limit, seed):
    given = (part[:limit] for part in scored)
    made = smoothing.certify(model, *given, sigma=SIGMA, n0=20, n=COPIES, seed=seed)
    return {
        "sigma": SIGMA,
        "copies": COPIES,
        "images": len(made.radii),
        "accuracy": {
            f"{radius:g}": made.certified_accuracy(radius)
            for radius in (0.0, SIGMA / 2, SIGMA)
        },
        "radius": float(np.mean(made.radii * made.correct)),
    }


def _calibration(model, scored, held_out, seed, std):
    plain = PlainClassifier(model)
    known = passes.logits_of(plain, held_out.images, _BATCH)
    fitted = plain.shares(known), held_out.labels
    is_fitted = bool(np.any(fitted[0].argmax(axis=1) != fitted[1]))
    hard = noise.parse(NOISY)
    settings = {"protocol": "reference", "seed": seed, "std": std}
    found = {}
    for name in ("clean", NOISY):
        images = scored.images
        if name != "clean":
            images = hard(images, **settings)
        logits = plain.shares(passes.logits_of(plain, images, _BATCH))
        made = calibrate(fitted, (logits, scored.labels))
        found[name] = made._asdict() | {
            "before": _diagram(logits, scored.labels),
            "after": _diagram(logits / made.temperature, scored.labels),
        }
    sizes = {"held_out": len(held_out.labels), "scored": len(scored.labels)}
    return sizes | {"fitted": is_fitted} | found


def _diagram(logits, labels):
    made = reliable.reliability(logits, labels, 10)
    names = "edges", "counts", "confidence", "accuracy"
    return {name: getattr(made, name).tolist() for name in names}
