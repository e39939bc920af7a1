"""Scheme names and their settings: one method, one table."""

import difflib
import types

from nfm_keras.mixing import Mixing

_FIRST, _ALL = "first", None

# name -> (alpha, sigma_add, sigma_mult, sites). The noise levels are those of
# the paper's tables; the commands of the authors' code halve them for noisy
# mixup and use 0.2 / 0 for noise.
SCHEMES = types.MappingProxyType(
    {
        "erm": (0.0, 0.0, 0.0, _FIRST),
        "noise": (0.0, 0.4, 0.2, _FIRST),
        "mixup": (1.0, 0.0, 0.0, _FIRST),
        "noisy_mixup": (1.0, 0.4, 0.2, _FIRST),
        "manifold_mixup": (1.0, 0.0, 0.0, _ALL),
        "nfm": (1.0, 0.4, 0.2, _ALL),
    }
)


def mixing(scheme: str, site_names, **overrides) -> Mixing:
    """Returns the `Mixing` of a scheme for a model with the given sites.

    Args:
        scheme: One of `SCHEMES`.
        site_names: The model's sites in graph order, the input first
            (`find_sites`).
        **overrides: Fields of `Mixing` that replace the scheme's; `None` keeps
            the scheme's.

    Raises:
        ValueError: For an unknown scheme.

    Example:

    >>> mixing("nfm", ["site_0", "site_1"], sigma_add=1.0).sites
    ('site_0', 'site_1')
    """
    if scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=3) or list(SCHEMES)
        raise ValueError(
            f"Unknown scheme. Expected one of: {', '.join(near)}. Received: {scheme!r}"
        )
    alpha, sigma_add, sigma_mult, where = SCHEMES[scheme]
    names = tuple(site_names)
    settings = {
        "alpha": alpha,
        "sigma_add": sigma_add,
        "sigma_mult": sigma_mult,
        "sites": names[:1] if where == _FIRST else names,
    }
    settings.update({k: v for k, v in overrides.items() if v is not None})
    return Mixing(**settings)
