"""Attacks on the plain classifier, in units of [0,1] pixels.

An attack is a value: `PGD(epsilon=8/255, steps=20)(classifier, images, labels)`. What
it returns does not depend on the batch size or on the order of the images: all that is
random is drawn from (seed, attack, image index, restart) alone.
"""

from nfm_keras.attacks.apgd import APGD, checkpoints
from nfm_keras.attacks.attack import AttackResult
from nfm_keras.attacks.autoattack import AutoAttack
from nfm_keras.attacks.balls import NORMS
from nfm_keras.attacks.catalogue import from_perturbation
from nfm_keras.attacks.fab import FAB
from nfm_keras.attacks.pgd import FGSM, PGD
from nfm_keras.attacks.square import Square

__all__ = [
    "APGD",
    "FAB",
    "FGSM",
    "NORMS",
    "PGD",
    "AttackResult",
    "AutoAttack",
    "Square",
    "checkpoints",
    "from_perturbation",
]
