"""Sentences of README and docs/results.md that have numbers of records in them."""

from collections.abc import Callable
from typing import NamedTuple

from measured_numbers import (
    CIFAR,
    DIGITS,
    FIGURE11,
    LEVELS,
    NOISY,
    QUIET,
    SCHEMES,
    TABLE1,
    TABLE5,
    accuracy,
    adversarial,
    apart,
    behind_in_table4,
    calibration_error,
    cifar,
    gain,
    lead,
    over,
    prices,
    printed,
    standard,
    toy,
)


class Sentence(NamedTuple):
    """Words of a page with `{}` for each number, and what gives the numbers."""

    page: str
    words: str
    values: Callable[[], tuple[float, ...]]


COLUMNS = (
    *("clean", "white_noise@0.1", "white_noise@0.2", "white_noise@0.3"),
    *("salt_and_pepper@0.02", "salt_and_pepper@0.04", "salt_and_pepper@0.1"),
    *("pgd@1/255", "pgd@2/255", "pgd@8/255"),
)
"""The columns of the table of CIFAR-10."""

SHIPPED = ("clean", "pgd@1/255", "pgd@2/255", "pgd@8/255", "pgd_l2@0.25", "fgsm@8/255")

SENTENCES = [
    Sentence(
        "docs/results.md",
        "({}, {}, {}, {} and {} % of 10,000); FGSM at 8/255, not measured before, "
        "leaves {} %",
        lambda: tuple(
            accuracy("cifar10/shipped/evaluation.json", name) for name in SHIPPED
        ),
    ),
    Sentence(
        "docs/results.md",
        "NFM costs {} points of clean accuracy, where the paper gains {}. It gives "
        "back {} points at white noise 0.2, {} at salt and pepper 0.1, {} over the 15 "
        "corruptions and {} under PGD of radius 1/255.",
        lambda: (
            -lead(CIFAR, "nfm", "erm", "clean"),
            printed("nfm", "clean") - printed("erm", "clean"),
            lead(CIFAR, "nfm", "erm", "white_noise@0.2"),
            lead(CIFAR, "nfm", "erm", "salt_and_pepper@0.1"),
            gain("corruptions"),
            lead(CIFAR, "nfm", "erm", "pgd@1/255"),
        ),
    ),
    Sentence(
        "docs/results.md",
        "are {} points apart at white noise 0.3, {} at 0.2 and {} under salt and "
        "pepper 0.1: so far can one training be from another, which intervals over "
        "images do not show. On clean images they are {} apart.",
        lambda: tuple(
            map(
                abs,
                apart(
                    *("erm", "white_noise@0.3", "white_noise@0.2"),
                    *("salt_and_pepper@0.1", "clean"),
                ),
            )
        ),
    ),
    Sentence(
        "docs/results.md",
        "Those of mixup are up to {} points apart in these columns, those of manifold "
        "mixup up to {}; on clean images {} and {}.",
        lambda: (
            *(max(map(abs, apart(s, *COLUMNS))) for s in ("mixup", "manifold_mixup")),
            *(abs(*apart(s, "clean")) for s in ("mixup", "manifold_mixup")),
        ),
    ),
    Sentence(
        "docs/results.md",
        "Over the 15 corruptions the second baseline has {} %, the second mixup {}.",
        lambda: tuple(
            accuracy(f"cifar10_float32/{scheme}/evaluation.json", "corruptions")
            for scheme in ("erm", "mixup")
        ),
    ),
    Sentence(
        "docs/results.md",
        "contrast ({} points against `erm`), defocus blur ({}), saturate ({}), "
        "brightness ({}), fog ({})",
        lambda: (
            *(gain("contrast"), gain("defocus_blur"), gain("saturate")),
            *(gain("brightness"), gain("fog")),
        ),
    ),
    Sentence(
        "docs/results.md",
        "the calibration error grows from {} to {} percent and more",
        lambda: (
            calibration_error("erm"),
            min(calibration_error(scheme) for scheme in SCHEMES[1:]),
        ),
    ),
    Sentence(
        "docs/results.md",
        "{} points more at white noise 0.2 and {} under PGD, for {} of clean accuracy",
        lambda: (
            lead(TABLE1, "nfm", "manifold_mixup", "white_noise@0.2"),
            lead(TABLE1, "nfm", "manifold_mixup", "pgd@1/255"),
            -lead(TABLE1, "nfm", "manifold_mixup", "clean"),
        ),
    ),
    Sentence(
        "docs/results.md",
        "Adversarial training loses at most {} points in any column, from {} below the "
        "baseline on clean images",
        adversarial,
    ),
    Sentence(
        "docs/results.md",
        "{} points at 0.3 for {} of clean accuracy",
        lambda: (
            lead(LEVELS, "1.0", "0.0", "white_noise@0.3"),
            -lead(LEVELS, "1.0", "0.0", "clean"),
        ),
    ),
    Sentence(
        "docs/results.md",
        "with 0.1 / 0.05 accuracy at 0.3 is {} points lower than without any noise",
        lambda: (-lead(LEVELS, "0.1", "0.0", "white_noise@0.3"),),
    ),
    Sentence(
        "docs/results.md",
        "salt and pepper 0.1 is met {} points worse with 0.2 / 0.1 than without",
        lambda: (-lead(LEVELS, "0.2", "0.0", "salt_and_pepper@0.1"),),
    ),
    Sentence(
        "docs/results.md",
        "radius 0.05 is {} points ahead of NFM at 0.1 there, {} under PGD of radius "
        "1/255, and {} on clean images, where it is within {} points of the baseline",
        lambda: (
            lead(FIGURE11, "adversarial_0.05", "nfm", "salt_and_pepper@0.1"),
            lead(FIGURE11, "adversarial_0.05", "nfm", "pgd@1/255"),
            lead(FIGURE11, "adversarial_0.05", "nfm", "clean"),
            -lead(FIGURE11, "adversarial_0.05", "erm", "clean"),
        ),
    ),
    Sentence(
        "docs/results.md",
        "0.25 keeps {} points more than NFM with noises of 1.0 / 0.5 at salt and "
        "pepper 0.35, and costs {} of clean accuracy",
        lambda: (
            lead(FIGURE11, "adversarial_0.25", "nfm_star", "salt_and_pepper@0.35"),
            -lead(FIGURE11, "adversarial_0.25", "erm", "clean"),
        ),
    ),
    Sentence(
        "docs/results.md",
        "adversarial training took from {} to {} minutes, NFM {}, both",
        lambda: tuple(
            accuracy(FIGURE11.format(row), "minutes")
            for row in ("adversarial_0.01", "adversarial_0.1", "nfm")
        ),
    ),
    Sentence(
        "docs/results.md",
        "ahead of every mixing row, by {} to {} points clean and at white noise 0.3",
        behind_in_table4,
    ),
    Sentence(
        "docs/results.md",
        "Clean accuracy is {} to {} % in all twelve rows. At white noise 0.3 rows "
        "without noise keep {} to {} %, those with 0.4 / 0.2 or more {} to {} %, and "
        "noise without any mixing is as good as NFM with the highest levels "
        "({} and {};",
        lambda: (
            *over((*QUIET, *NOISY, "nfm_low_noise"), TABLE5, "clean"),
            *over(QUIET, TABLE5, "white_noise@0.3"),
            *over(NOISY, TABLE5, "white_noise@0.3"),
            accuracy(TABLE5.format("noise"), "white_noise@0.3"),
            accuracy(TABLE5.format("nfm_high_noise"), "white_noise@0.3"),
        ),
    ),
    Sentence(
        "docs/results.md",
        "NFM {} points [{}, {}], white noise {} [{}, {}], manifold mixup {} [{}, {}]",
        lambda: toy("nfm", "noise", "manifold_mixup"),
    ),
    Sentence(
        "docs/results.md",
        "under PGD of radius 0.1 they keep {} and {} %",
        lambda: tuple(accuracy(DIGITS.format(s), "pgd@0.1") for s in ("nfm", "erm")),
    ),
    Sentence(
        "README.md",
        "NFM keeps [{} %](results/cifar10/nfm/record.json), plain training "
        "[{} %](results/cifar10/erm/record.json)",
        lambda: cifar("nfm", "white_noise@0.2") + cifar("erm", "white_noise@0.2"),
    ),
    Sentence(
        "README.md",
        "It costs clean accuracy there: {} % instead of {} %",
        lambda: cifar("nfm", "clean") + cifar("erm", "clean"),
    ),
    Sentence(
        "README.md",
        "[gains {} points](results/cifar10/table.md)",
        lambda: (printed("nfm", "clean") - printed("erm", "clean"),),
    ),
    Sentence(
        "README.md",
        "Over 15 common corruptions it gains {} points, but loses {} under contrast "
        "and {} under defocus blur",
        lambda: (gain("corruptions"), -gain("contrast"), -gain("defocus_blur")),
    ),
    Sentence(
        "README.md",
        "takes longer: from {} to {} times NFM's time",
        lambda: (
            min(prices(FIGURE11, ("adversarial_0.01", "adversarial_0.25"))),
            max(prices(TABLE1, ("adversarial",))),
        ),
    ),
    Sentence(
        "README.md",
        "With an l2 radius of 0.05 it keeps {} % under PGD of 1/255, where NFM keeps "
        "{}, and",
        lambda: tuple(
            accuracy(FIGURE11.format(row), "pgd@1/255")
            for row in ("adversarial_0.05", "nfm")
        ),
    ),
    Sentence(
        "README.md",
        "at 2/255 {} % of NFM's and {} % of plain training's",
        lambda: tuple(standard("autoattack@2/255")(s) for s in ("nfm", "erm")),
    ),
    Sentence(
        "README.md",
        "noise on the input alone does as well as NFM: {} and {} % at 0.2",
        lambda: tuple(
            accuracy(TABLE1.format(s), "white_noise@0.2") for s in ("noise", "nfm")
        ),
    ),
    Sentence(
        "README.md",
        "NFM [{} points, {} to {}](results/toy/table.md)",
        lambda: toy("nfm"),
    ),
]
