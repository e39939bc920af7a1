"""Named lists of what to measure, from two minutes to a day."""

import dataclasses

from nfm_keras.checks import unknown


@dataclasses.dataclass(frozen=True)
class Suite:
    """What one evaluation runs.

    Args:
        perturbations: ids, as `nfm_keras.evaluation.scoring.expand` reads them.
        limit: images of every row but attacks; None for all.
        attack_limit: images that are attacked.
        attack_settings: arguments of `PGD` for the ids that name it.
        sigmas: noise levels of randomised smoothing, in units of [0,1] pixels.
        certify_limit: images to certify.
        certify_samples: noisy copies of each.
        masking_limit: images of the gradient-masking report, 0 for none.
    """

    perturbations: tuple
    limit: int | None = None
    attack_limit: int | None = None
    attack_settings: dict = dataclasses.field(default_factory=dict)
    sigmas: tuple[float, ...] = ()
    certify_limit: int = 0
    certify_samples: int = 1000
    masking_limit: int = 0


SUITES = {
    # Two minutes on 2 cores for a network of CIFAR images at width 16.
    "quick": Suite(
        perturbations=(
            *("clean", "white_noise@0.1", "white_noise@0.2"),
            *("salt_and_pepper@0.04", "salt_and_pepper@0.1", "common_corruptions"),
            *("fgsm@8/255", "pgd@1/255", "pgd@8/255", "apgd_ce@2/255"),
        ),
        limit=200,
        attack_limit=100,
        attack_settings={"steps": 20},
        sigmas=(0.12,),
        certify_limit=20,
        certify_samples=500,
        masking_limit=32,
    ),
    "standard": Suite(
        perturbations=(
            *("clean", "white_noise", "salt_and_pepper"),
            *("common_corruptions", "extra_corruptions"),
            *("fgsm@8/255", "pgd@1/255", "pgd@2/255", "pgd@4/255", "pgd@8/255"),
            *("pgd_l2@0.25", "pgd_l2@0.5"),
            *("autoattack@2/255", "autoattack@8/255", "autoattack_l2@0.5"),
        ),
        limit=None,
        attack_limit=1000,
        attack_settings={"steps": 20},
        sigmas=(0.06, 0.12),
        certify_limit=100,
        certify_samples=1000,
        masking_limit=100,
    ),
    "full": Suite(
        perturbations=(
            *("clean", "white_noise", "salt_and_pepper"),
            *("common_corruptions", "extra_corruptions"),
            *("fgsm@1/255", "fgsm@2/255", "fgsm@4/255", "fgsm@8/255"),
            *("pgd@1/255", "pgd@2/255", "pgd@4/255", "pgd@8/255", "pgd@16/255"),
            *("pgd_l2@0.1", "pgd_l2@0.25", "pgd_l2@0.5", "pgd_l2@1"),
            *("autoattack@1/255", "autoattack@2/255", "autoattack@8/255"),
            *("autoattack_l2@0.25", "autoattack_l2@0.5"),
        ),
        limit=None,
        attack_limit=None,
        attack_settings={"steps": 50, "restarts": 5},
        sigmas=(0.06, 0.12, 0.25),
        certify_limit=500,
        certify_samples=10000,
        masking_limit=500,
    ),
}


def get(name):
    """The `Suite` of a name.

    Raises:
        ValueError: unknown name.

    Example:

    >>> get("quick").limit
    200
    """
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[name]
