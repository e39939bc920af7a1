"""The plan of an evaluation: what is measured, as a value, and the named plans."""

import dataclasses
from collections.abc import Sequence

from nfm_keras import corruptions
from nfm_keras.attacks import from_perturbation
from nfm_keras.checks import check_count, check_number, unknown
from nfm_keras.corruptions.cache import Cache
from nfm_keras.corruptions.constants import GROUPS
from nfm_keras.corruptions.official import open_official
from nfm_keras.evaluation.conditions import Attacked, Noisy
from nfm_keras.evaluation.corrupted import Corrupted
from nfm_keras.evaluation.noise import CURVES, Perturbation, check_id, curve, parse
from nfm_keras.records.ids import ATTACKS, kind
from nfm_keras.types import PerturbationLike, StrPath


@dataclasses.dataclass(frozen=True)
class Suite:
    """What one evaluation measures, and on what.

    Args:
        perturbations: list of ids, of `Perturbation`s, `Corruption`s and attacks. A
            bare noise is its curve, a bare corruption all its severities;
            `"common_corruptions"` are the 15 of the benchmark, `"extra_corruptions"`
            the four others.
        name: str, to show; empty for a plan of one's own.
        limit: int, images of every score but attacks; None for all.
        attack_limit: int, images that are attacked; None for as many as `limit`.
        corruption_limit: int, images that are corrupted; None for as many.
        attack_settings: dict of `PGD` arguments for the ids that name it, such as
            `{"steps": 20, "restarts": 5}`.
        sigmas: tuple of float, noise levels of randomised smoothing, in units of [0,1]
            pixels.
        certify_limit: int, images to certify.
        certify_samples: int, noisy copies of each.
        masking_limit: int, images of the gradient-masking report, 0 for none.
        cache_dir: folder that keeps generated corruptions.
        official: folder of official corrupted images, used where it has a corruption
            (`nfm_keras.corruptions.official`).
        frost_dir: folder of frost textures, by default an installed package's.
        jpeg: bool, whether generated corruptions end as a JPEG, as the files of
            ImageNet-C did; by default so with the constants of ImageNet-C.

    Raises:
        ValueError: If there is no perturbation, a limit or a sigma is not positive, or
            a setting is none of `PGD`'s or without effect.

    Example:

    >>> plan = Suite(["clean", "pgd@8/255"], attack_settings={"steps": 50})
    >>> plan = dataclasses.replace(SUITES["quick"], cache_dir="cache")
    """

    perturbations: Sequence[PerturbationLike]
    name: str = ""
    limit: int | None = None
    attack_limit: int | None = None
    corruption_limit: int | None = None
    attack_settings: dict = dataclasses.field(default_factory=dict)
    sigmas: tuple[float, ...] = ()
    certify_limit: int = 0
    certify_samples: int = 1000
    masking_limit: int = 0
    cache_dir: StrPath | None = None
    official: StrPath | None = None
    frost_dir: StrPath | None = None
    jpeg: bool | None = None

    def __post_init__(self) -> None:
        items = self.perturbations
        if isinstance(items, str) or not hasattr(items, "__len__") or not len(items):
            raise ValueError(
                "`perturbations` must be a list with at least one id, such as "
                f"['clean', 'white_noise@0.1']. Received: {items!r}"
            )
        for name in ("limit", "attack_limit", "corruption_limit"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        check_count("certify_samples", self.certify_samples)
        check_count("masking_limit", self.masking_limit, least=0)
        check_count("certify_limit", self.certify_limit, least=1 if self.sigmas else 0)
        sigmas = self.sigmas if isinstance(self.sigmas, (tuple, list)) else [None]
        for sigma in sigmas:
            check_number("sigmas", sigma, above=0)
        self._check_attack_settings()

    def _check_attack_settings(self):
        for name in self.attack_settings:
            if name not in _SETTINGS:
                raise unknown("setting of PGD", name, _SETTINGS)
        # An attack that is given as a value has its own.
        named = [x for x in self.perturbations if isinstance(x, (str, Perturbation))]
        ids = [str(getattr(item, "id", item)) for item in named]
        if self.attack_settings and not any(text.startswith("pgd") for text in ids):
            given = [str(getattr(item, "id", item)) for item in self.perturbations]
            raise ValueError(
                "`attack_settings` are those of the ids of PGD, such as 'pgd@8/255', "
                "of which one has to be among the perturbations; an attack that is "
                f"given as a value has its own. Received: {self.attack_settings} with "
                f"{given}"
            )


_SETTINGS = "steps", "step_size", "restarts", "random_start", "eot"

SUITES = {
    # Two minutes on 2 cores for a network of CIFAR images at width 16.
    "quick": Suite(
        name="quick",
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
        name="standard",
        perturbations=(
            *("clean", "white_noise", "salt_and_pepper"),
            *("common_corruptions", "extra_corruptions"),
            *("fgsm@8/255", "pgd@1/255", "pgd@2/255", "pgd@4/255", "pgd@8/255"),
            *("pgd_l2@0.25", "pgd_l2@0.5"),
            *("autoattack@2/255", "autoattack@8/255", "autoattack_l2@0.5"),
        ),
        attack_limit=1000,
        attack_settings={"steps": 20},
        sigmas=(0.06, 0.12),
        certify_limit=100,
        certify_samples=1000,
        masking_limit=100,
    ),
    "full": Suite(
        name="full",
        perturbations=(
            *("clean", "white_noise", "salt_and_pepper"),
            *("common_corruptions", "extra_corruptions"),
            *("fgsm@1/255", "fgsm@2/255", "fgsm@4/255", "fgsm@8/255"),
            *("pgd@1/255", "pgd@2/255", "pgd@4/255", "pgd@8/255", "pgd@16/255"),
            *("pgd_l2@0.1", "pgd_l2@0.25", "pgd_l2@0.5", "pgd_l2@1"),
            *("autoattack@1/255", "autoattack@2/255", "autoattack@8/255"),
            *("autoattack_l2@0.25", "autoattack_l2@0.5"),
        ),
        attack_settings={"steps": 50, "restarts": 5},
        sigmas=(0.06, 0.12, 0.25),
        certify_limit=500,
        certify_samples=10000,
        masking_limit=500,
    ),
}


def named(name):
    """Returns the `Suite` of a name.

    Raises:
        ValueError: If there is none.

    Example:

    >>> named("quick").limit
    200
    """
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[name]


def conditions(suite, *, stochastic=False):
    """Returns what is to be scored, one by one.

    Args:
        suite: `Suite`.
        stochastic: bool. For a classifier that changes from pass to pass: AutoAttack
            averages over its randomness, and of a named suite the attacks that need the
            same gradient twice are left out.

    Returns:
        List of `Condition`.

    Raises:
        ValueError: For an unknown id, a bad severity or setting, or an attack that
            cannot be run on a stochastic classifier.

    Example:

    >>> plan = Suite(["clean", "fog@2", "pgd@8/255"])
    >>> [condition.id for condition in conditions(plan)]
    ['clean', 'fog@2', 'pgd@8/255']
    >>> len(conditions(Suite(["common_corruptions"])))
    75
    """
    maker = _Maker(suite)
    made = [condition for item in suite.perturbations for condition in maker.of(item)]
    if not stochastic:
        return made
    made = [condition.for_stochastic() for condition in made]
    if not suite.name:
        for condition in made:
            condition.check_stochastic()
    return [condition for condition in made if condition.suits_stochastic]


class _Maker:
    """Makes conditions of ids and of perturbations, as a suite asks."""

    def __init__(self, suite):
        self.suite = suite
        self.cache = Cache(suite.cache_dir) if suite.cache_dir else None
        self.official = open_official(suite.official) if suite.official else None

    def of(self, item):
        if isinstance(item, str):
            return self._read(item.strip())
        if getattr(item, "kind", None) in ATTACKS:
            item = from_perturbation(item, **self.suite.attack_settings)
        if not hasattr(item, "id") or not callable(item):
            raise ValueError(
                "A perturbation must be an id, a `Perturbation`, a `Corruption` or an "
                f"attack. Received: {item!r}"
            )
        if isinstance(item, corruptions.Corruption):
            limit = self.suite.corruption_limit
            return [Corrupted(item, limit, self.cache, self.official)]
        if kind(item.id) in ATTACKS:
            return [Attacked(item, self.suite.attack_limit)]
        return [Noisy(item)]

    def _read(self, text):
        check_id(text)
        name, at, severity = text.partition("@")
        kinds = GROUPS.get(name, (name,))
        if set(kinds) <= set(corruptions.NAMES):
            levels = [int(severity)] if at else corruptions.SEVERITIES
            look = {"frost_dir": self.suite.frost_dir, "jpeg": self.suite.jpeg}
            items = [
                corruptions.Corruption(kind, level, **look)
                for kind in kinds
                for level in levels
            ]
        else:
            items = curve(text) if text in CURVES else [parse(text)]
        return [condition for item in items for condition in self.of(item)]
