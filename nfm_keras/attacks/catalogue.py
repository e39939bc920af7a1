"""From the id of a perturbation to the attack it names."""

import functools

from nfm_keras.attacks.apgd import APGD
from nfm_keras.attacks.autoattack import AutoAttack
from nfm_keras.attacks.fab import FAB
from nfm_keras.attacks.pgd import FGSM, PGD
from nfm_keras.attacks.square import Square

ATTACKS = {
    "fgsm": FGSM,
    "pgd": PGD,
    "apgd_ce": functools.partial(APGD, loss="ce"),
    "apgd_dlr": functools.partial(APGD, loss="dlr"),
    "apgd_t": functools.partial(APGD, loss="targeted_dlr"),
    "fab_t": FAB,
    "square": Square,
    "autoattack": AutoAttack,
}
"""Name of an attack -> what makes it from epsilon and norm."""


def from_perturbation(perturbation, **settings):
    """The attack that a perturbation such as `pgd_l2@0.5` names.

    Args:
        perturbation: `nfm_keras.evaluation.noise.Perturbation` of an attack's kind.
        **settings: steps, step_size, restarts, random_start of `PGD`. They go to PGD
            alone: the others are known by name with the settings they were published
            with. Make their value yourself to change one.

    Example:

    >>> from nfm_keras.data.images import parse
    >>> from_perturbation(parse("pgd@8/255"), steps=20, restarts=5).settings["steps"]
    20
    >>> from_perturbation(parse("apgd_t_l2@0.5")).id
    'apgd_t_l2@0.5'
    """
    name, is_l2, _ = perturbation.kind.partition("_l2")
    norm = "l2" if is_l2 else "linf"
    settings = settings if name == "pgd" else {}
    return ATTACKS[name](epsilon=perturbation.severity, norm=norm, **settings)
