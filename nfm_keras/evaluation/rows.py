"""The rows of an evaluation: ids to perturbations, corruptions and attacks."""

import dataclasses

from nfm_keras import attacks, corruptions
from nfm_keras.checks import did_you_mean
from nfm_keras.evaluation.noise import CURVES, curve, parse
from nfm_keras.records.ids import ATTACKS, KINDS

GROUPS = {
    "common_corruptions": corruptions.STANDARD,
    "extra_corruptions": corruptions.EXTRA,
}
"""Ids that stand for several corruptions at all severities."""


def expand(items, attack_settings=None, *, frost_dir=None):
    """Ids to perturbations, corruptions and attacks; a bare name becomes its curve.

    Args:
        items: list of ids, `Perturbation`s, `Corruption`s and attacks.
        attack_settings: dict of `PGD` arguments for the ids that name it.
        frost_dir: folder of frost textures, for the corruption of that name.

    Raises:
        ValueError: unknown id, bad severity or setting, or nothing at all.

    Example:

    >>> [row.id for row in expand(["clean", "fog@2", "pgd@8/255"], {"steps": 20})]
    ['clean', 'fog@2', 'pgd@8/255']
    >>> len(expand(["common_corruptions"]))
    75
    """
    if isinstance(items, str) or not len(items):
        raise ValueError(
            "`perturbations` must be a list with at least one id, such as "
            f"['clean', 'white_noise@0.1']. Received: {items!r}"
        )
    rows = []
    for item in items:
        rows += _expand(item, attack_settings or {}, frost_dir)
    return rows


def kind(row):
    """The id of a row without its severity."""
    return row.id.partition("@")[0]


def is_attack(row):
    """Whether a row needs the classifier to find its images."""
    return kind(row) in ATTACKS


def is_corruption(row):
    """Whether a row is one of the common corruptions."""
    return isinstance(row, corruptions.Corruption)


def for_stochastic(items, *, drop):
    """Rows as they are run on a classifier that changes from pass to pass.

    Args:
        items: list of rows.
        drop: bool. Leave out the attacks that need the same gradient twice, instead of
            refusing them.

    Raises:
        ValueError: such an attack.
    """
    chosen = []
    for row in items:
        if kind(row).startswith("autoattack"):
            chosen.append(dataclasses.replace(row, version="rand"))
        elif not is_attack(row):
            chosen.append(row)
        elif not drop:
            raise ValueError(
                "A classifier that stays random is attacked by `autoattack` alone, "
                f"which averages over its randomness. Received: {row.id!r}"
            )
    return chosen


def passes(row):
    """Passes of the classifier that a row costs an image, as far as one can tell."""
    name = kind(row).removesuffix("_l2")
    if name in ("pgd", "fgsm"):
        return row.settings["steps"] * row.settings["restarts"] * 2
    # Cascades leave broken images alone at once: most cost a few steps.
    typical = {"autoattack": 1000, "apgd_t": 400, "fab_t": 1000, "square": 1500}
    return typical.get(name, 100) if is_attack(row) else 1


def _expand(item, attack_settings, frost_dir):
    if isinstance(item, str):
        return _read(item.strip(), attack_settings, frost_dir)
    if getattr(item, "kind", None) in ATTACKS:
        return [attacks.from_id(item.id, **attack_settings)]
    if not hasattr(item, "id") or not callable(item):
        raise ValueError(
            "A perturbation must be an id, a `Perturbation`, a `Corruption` or an "
            f"attack. Received: {item!r}"
        )
    return [item]


def _read(text, attack_settings, frost_dir):
    name, at, severity = text.partition("@")
    kinds = GROUPS.get(name, (name,))
    if set(kinds) <= set(corruptions.NAMES):
        # A bare name is all its severities, in a group those of each corruption.
        severities = [_severity(text, severity)] if at else corruptions.SEVERITIES
        settings = {"frost_dir": frost_dir}
        return [
            corruptions.Corruption(k, s, **settings) for k in kinds for s in severities
        ]
    if name not in KINDS:
        known = (*KINDS, *corruptions.NAMES, *GROUPS)
        raise ValueError(
            f"Unknown perturbation {name!r}.{did_you_mean(name, known)} "
            f"Expected one of {', '.join(known)}. Received: {text!r}"
        )
    if text in CURVES:
        return curve(text)
    item = parse(text)
    return _expand(item, attack_settings, frost_dir)


def _severity(text, severity):
    if not severity.isdecimal():
        raise ValueError(
            "The severity of a corruption must be a whole number from 1 to 5, as in "
            f"`fog@3`. Received: {text!r}"
        )
    return int(severity)
