"""Scheme names and what they stand for: one table.

The table is plain values, which take no import of Keras: reports and flags read it too.
"""

import dataclasses
import functools
import types
from typing import Any, NamedTuple

from nfm_keras.checks import unknown
from nfm_keras.mixing import techniques

_FIRST, _ALL = "first", None
RAMPS = ("constant", "rise", "fall")
"""How alpha or the noise goes over the epochs (`schedule.ramp`)."""


class Scheme(NamedTuple):
    """A row of the table.

    Attributes:
        alpha: As in `Mixing`.
        sigma_add: As in `Mixing`.
        sigma_mult: As in `Mixing`.
        sites: The input alone, or all sites of the model.
        technique: Name of the class in `mixing.techniques` of what is done to the
            images beside; `None` for nothing.
        sparsity: As in `Mixing`.
        label_smoothing: As in `SmoothedCrossentropy`; `None` for plain labels.
    """

    alpha: float = 0.0
    sigma_add: float = 0.0
    sigma_mult: float = 0.0
    sites: str | None = _FIRST
    technique: str | None = None
    sparsity: float | None = None
    label_smoothing: float | None = None


SCHEMES = types.MappingProxyType(
    {
        "erm": Scheme(),
        "noise": Scheme(0.0, 0.4, 0.2),
        "noise_reference": Scheme(1e-8, 0.2, 0.0),
        "label_smoothing": Scheme(label_smoothing=0.1),
        "mixup": Scheme(1.0, 0.0, 0.0),
        "cutmix": Scheme(1.0, technique="CutMix"),
        "puzzlemix": Scheme(1.0, technique="PuzzleMix"),
        "manifold_mixup": Scheme(1.0, 0.0, 0.0, _ALL),
        "noisy_mixup": Scheme(1.0, 0.4, 0.2),
        "nfm": Scheme(1.0, 0.4, 0.2, _ALL),
        "nfm_star": Scheme(1.0, 1.0, 0.5, _ALL),
        "adversarial": Scheme(technique="Adversarial"),
        "noisymix": Scheme(1.0, 0.5, 0.5, _ALL, "NoisyMix", sparsity=0.65),
    }
)
"""All schemes, in the order of the paper's tables.

The noise levels are those of the tables; the commands of the authors' code halve them
for noisy mixup, and their noise is `noise_reference`, whose alpha makes lam 0 or 1. The
starred model of the paper is `nfm_star`.
"""


def lookup(scheme: str) -> Scheme:
    """Returns the row of a scheme.

    Args:
        scheme: One of `SCHEMES`.

    Raises:
        ValueError: For an unknown scheme; the near ones are listed.

    Example:

    >>> lookup("nfm").sigma_add
    0.4
    """
    if scheme not in SCHEMES:
        raise unknown("scheme", scheme, SCHEMES)
    return SCHEMES[scheme]


def mixing(scheme: str, site_names, **overrides):
    """Returns the `Mixing` of a scheme for a model with the given sites.

    Args:
        scheme: One of `SCHEMES`.
        site_names: The model's sites in graph order, the input first
            (`find_sites`).
        **overrides: Fields of `Mixing` that replace the scheme's; `None` keeps
            the scheme's.

    Returns:
        A `Mixing`.

    Raises:
        ValueError: For an unknown scheme; for sites or noise that it has no use for.

    Example:

    >>> mixing("nfm", ["site_0", "site_1"], sigma_add=1.0).sites
    ('site_0', 'site_1')
    """
    from nfm_keras.mixing.draw import Mixing  # which imports Keras

    row, names = lookup(scheme), tuple(site_names)
    settings: dict[str, Any] = {
        "alpha": row.alpha,
        "sigma_add": row.sigma_add,
        "sigma_mult": row.sigma_mult,
        "sites": names[:1] if row.sites == _FIRST else names,
        "sparsity": row.sparsity,
    }
    settings.update({k: v for k, v in overrides.items() if v is not None})
    value = Mixing(**settings)
    if row.technique and getattr(techniques, row.technique).cuts:
        _check_input_only(scheme, value, names[:1])
    return value


def technique(scheme: str, **settings):
    """Returns the technique of a scheme.

    Args:
        scheme: One of `SCHEMES`.
        **settings: Fields of the technique that replace its defaults; `None` keeps the
            default.

    Returns:
        A `Technique`, or `None` for a scheme that only mixes.

    Raises:
        ValueError: For an unknown scheme, or a field that is not its technique's.

    Example:

    >>> technique("adversarial", attack_steps=3).attack_steps
    3
    """
    kind = lookup(scheme).technique
    settings = {k: v for k, v in settings.items() if v is not None}
    for name, value in settings.items():
        if not takes(scheme, name):
            raise ValueError(
                f"`{name}` must not be set for scheme {scheme!r}; it belongs to "
                f"{', '.join(_fields().get(name, ['no scheme']))}. Received: {value!r}"
            )
    return None if kind is None else getattr(techniques, kind)(**settings)


def takes(scheme: str, field: str) -> bool:
    """Returns whether a setting is one of the scheme's technique.

    Args:
        scheme: Name of a scheme.
        field: Name of a setting.

    Example:

    >>> takes("adversarial", "attack_steps"), takes("nfm", "attack_steps")
    (True, False)
    """
    return scheme in _fields().get(field, ())


def technique_fields() -> tuple[str, ...]:
    """Returns the names of all settings of all techniques."""
    return tuple(_fields())


@functools.cache
def _fields():
    """Field of a technique -> the schemes that have it."""
    schemes = {}
    for name, row in SCHEMES.items():
        kind = row.technique and getattr(techniques, row.technique)
        for field in dataclasses.fields(kind) if kind else ():
            schemes.setdefault(field.name, []).append(name)
    return schemes


def _check_input_only(scheme, mixing, first):
    if mixing.sites != first:
        raise ValueError(
            f"Scheme {scheme!r} cuts images and cannot take features: its site must "
            f"be {list(first)}, the input. Received: sites={list(mixing.sites)}"
        )
    if mixing.sigma_add or mixing.sigma_mult:
        raise ValueError(
            f"Scheme {scheme!r} adds no noise: its levels must be 0. Received: "
            f"sigma_add={mixing.sigma_add}, sigma_mult={mixing.sigma_mult}"
        )
