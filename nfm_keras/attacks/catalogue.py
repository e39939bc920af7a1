"""From the id of a perturbation to the attack it names."""

import functools
from collections.abc import Callable
from typing import Any

from nfm_keras.attacks.apgd import APGD
from nfm_keras.attacks.attack import Attack
from nfm_keras.attacks.autoattack import AutoAttack
from nfm_keras.attacks.fab import FAB
from nfm_keras.attacks.pgd import FGSM, PGD
from nfm_keras.attacks.square import Square
from nfm_keras.checks import unknown
from nfm_keras.records.ids import ATTACKS, split
from nfm_keras.types import PerturbationLike

_MAKERS: dict[str, Callable[..., Attack]] = {
    "fgsm": FGSM,
    "pgd": PGD,
    "pgd_t": functools.partial(PGD, targets=9),
    "apgd_ce": functools.partial(APGD, loss="ce"),
    "apgd_dlr": functools.partial(APGD, loss="dlr"),
    "apgd_t": functools.partial(APGD, loss="targeted_dlr"),
    "fab_t": FAB,
    "square": Square,
    "autoattack": AutoAttack,
}


def from_perturbation(perturbation: PerturbationLike, **settings: Any) -> Attack:
    """Returns the attack that an id such as `pgd_l2@0.5` names.

    Args:
        perturbation: str, the id of an attack: behind the `@` its epsilon, a number or
            a fraction, in units of [0,1] pixels. Or a value that has such an `id`.
        **settings: steps, step_size, restarts, random_start and eot of `PGD`. They go
            to PGD alone, targeted or not: the others are known by name with the
            settings they were published with. Make their value yourself to change one.

    Raises:
        ValueError: If the id names no attack or has no epsilon.

    Example:

    >>> from_perturbation("pgd@8/255", steps=20, restarts=5).settings["steps"]
    20
    >>> from_perturbation("apgd_t_l2@0.5").id
    'apgd_t_l2@0.5'
    """
    kind, epsilon = split(getattr(perturbation, "id", perturbation))
    if kind not in ATTACKS:
        raise unknown("attack", kind, ATTACKS)
    if epsilon is None:
        raise ValueError(
            f"Expected an id like `{kind}@8/255`. Received: {perturbation!r}"
        )
    name, is_l2, _ = kind.partition("_l2")
    settings = settings if name in ("pgd", "pgd_t") else {}
    return _MAKERS[name](epsilon=epsilon, norm="l2" if is_l2 else "linf", **settings)
