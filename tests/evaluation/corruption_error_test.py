import json
import math
import random

import pytest

from nfm_keras.corruptions import NAMES, PAPER, SEVERITIES, STANDARD
from nfm_keras.evaluation import corruption_error
from nfm_keras.evaluation.alexnet import (
    ALEXNET,
    ALEXNET_BY_SEVERITY,
    ALEXNET_CLEAN_ERROR,
)
from nfm_keras.evaluation.corruption_error import (
    mce,
    mean_accuracy,
    relative_mce,
    summarise,
)


def constant(error, kinds=NAMES):
    return {(kind, severity): error for kind in kinds for severity in SEVERITIES}


ALEXNET_ERRORS = {
    (kind, severity): error
    for kind, row in ALEXNET_BY_SEVERITY.items()
    for severity, error in zip(SEVERITIES, row, strict=True)
}


def test_alexnet_itself_scores_100():
    assert mce(ALEXNET_ERRORS) == pytest.approx(100, abs=1e-12)
    received = relative_mce(ALEXNET_ERRORS, ALEXNET_CLEAN_ERROR)
    assert received == pytest.approx(100, abs=1e-12)
    values = corruption_error.corruption_error(ALEXNET_ERRORS)
    assert values == pytest.approx(dict.fromkeys(STANDARD, 100))


def test_robustbench_errors_score_100_with_their_own_normalisers():
    errors = {
        (kind, severity): error
        for kind, error in ALEXNET["robustbench"].items()
        for severity in SEVERITIES
    }
    assert mce(errors, "robustbench") == pytest.approx(100, abs=1e-12)
    assert abs(mce(errors) - 100) > 0.01


@pytest.mark.parametrize("whose", ALEXNET)
def test_normalisers_have_the_names_of_the_benchmark(whose):
    assert set(ALEXNET[whose]) == set(STANDARD)


def test_severities_average_to_the_published_means():
    """As AugMix and its successors print them, in the benchmark's order."""
    published = (
        *(0.886428, 0.894468, 0.922640, 0.819880, 0.826268, 0.785948, 0.798360),
        *(0.866816, 0.826572, 0.819324, 0.564592, 0.853204, 0.646056, 0.717840),
        0.606500,
    )
    assert [ALEXNET["hendrycks"][kind] for kind in STANDARD] == pytest.approx(
        published, abs=1e-12
    )


def test_errors_are_paired_by_name_not_by_order():
    items = list(ALEXNET_ERRORS.items())
    random.Random(0).shuffle(items)
    assert mce(dict(items)) == mce(ALEXNET_ERRORS)
    # The same numbers under other names are another result.
    rotated = zip(STANDARD, STANDARD[1:] + STANDARD[:1], strict=True)
    wrong = {
        (kind, severity): ALEXNET_ERRORS[other, severity]
        for kind, other in rotated
        for severity in SEVERITIES
    }
    assert abs(mce(wrong) - 100) > 1


def test_corruption_error_is_a_ratio_of_sums():
    """Brightness at 0.4 four times, then 0.8: the mean of ratios is another number."""
    errors = constant(0.0) | {("brightness", s): 0.4 for s in SEVERITIES}
    errors["brightness", 5] = 0.8
    alexnet = (0.4514, 0.48502, 0.54048, 0.62166, 0.7244)
    of_sums = 100 * 2.4 / sum(alexnet)
    of_ratios = 100 * sum(e / a for e, a in zip([0.4] * 4 + [0.8], alexnet)) / 5
    received = corruption_error.corruption_error(errors)["brightness"]
    assert received == pytest.approx(of_sums, abs=1e-12)
    assert abs(of_sums - of_ratios) > 0.5
    # The other 14 are perfect, and the mean is taken over all 15.
    assert mce(errors) == pytest.approx(of_sums / 15, abs=1e-12)


def test_relative_mce_by_hand():
    """A classifier that loses the same everywhere; and one that loses nothing."""
    gaps = [ALEXNET["hendrycks"][kind] - 0.4348 for kind in STANDARD]
    expected = 100 * sum(0.1 / gap for gap in gaps) / 15
    assert relative_mce(constant(0.3), 0.2) == pytest.approx(expected)
    assert relative_mce(constant(0.3), 0.3) == 0


def test_mean_accuracy_over_15_19_and_6():
    errors = {
        (kind, s): (NAMES.index(kind) + s) / 100 for kind in NAMES for s in SEVERITIES
    }
    for kinds, size in ((STANDARD, 15), (NAMES, 19), (PAPER, 6)):
        assert len(kinds) == size
        mean = sum(NAMES.index(kind) + 3 for kind in kinds) / size
        assert mean_accuracy(errors, kinds) == pytest.approx(100 - mean)


def test_summary_for_cifar_is_never_normalised():
    figures = json.loads(json.dumps(summarise(constant(0.25), 0.0625, imagenet=False)))
    assert figures == {
        "clean_accuracy": 93.75,
        "accuracy_standard": 75.0,
        "accuracy_all": 75.0,
        "accuracy_paper": 75.0,
    }


def test_summary_for_imagenet_names_every_figure():
    figures = summarise(ALEXNET_ERRORS, ALEXNET_CLEAN_ERROR, imagenet=True)
    mean = 100 * math.fsum(ALEXNET["hendrycks"].values()) / 15
    assert figures.pop("mce_robustbench") == pytest.approx(100, abs=0.5)
    assert figures == pytest.approx(
        {
            "clean_accuracy": 56.52,
            "accuracy_standard": 100 - mean,
            "mce_hendrycks": 100.0,
            "relative_mce": 100.0,
            "unnormalised_mce": mean,
        }
    )


def test_a_figure_that_lacks_errors_is_refused_and_they_are_named():
    errors = constant(0.5, STANDARD)
    del errors["fog", 2], errors["snow", 5]
    for function in (mce, corruption_error.corruption_error):
        with pytest.raises(ValueError, match="73 of 75 .* without snow@5, fog@2$"):
            function(errors)
    with pytest.raises(ValueError, match="15 corruptions .* without snow@5, fog@2$"):
        relative_mce(errors, 0.2)
    with pytest.raises(ValueError, match="Received: 73 of 75"):
        summarise(errors, 0.2, imagenet=False)  # not one mean is whole
    with pytest.raises(ValueError, match="Received: 25 of 75"):
        summarise(constant(0.5, PAPER), 0.2, imagenet=True)


@pytest.mark.parametrize(
    "errors, message",
    [
        ({("fog", 6): 0.1}, "severity of fog .* Received: 6"),
        ({("mist", 1): 0.1}, r"Received: \['mist'\]"),
        ({("fog", 1): 31.0}, "fog@1 must be a share .* Received: 31.0"),
        ({("fog", 1): math.nan}, "Received: nan"),
        ({"fog@1": 0.1}, "Received: 'fog@1'"),
    ],
    ids=["severity", "kind", "percent", "nan", "id"],
)
def test_bad_errors_are_refused(errors, message):
    for call in (
        lambda: mce(errors),
        lambda: mean_accuracy(errors, ["fog"]),
        lambda: summarise(errors, 0.2, imagenet=False),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="`normalisers` .* Received: 'resnet'"):
        mce(constant(0.5), "resnet")
    with pytest.raises(ValueError, match="`clean_error` .* Received: 23.9"):
        relative_mce(constant(0.5), 23.9)
    with pytest.raises(ValueError, match=r"Received: \['mist'\]"):
        mean_accuracy(constant(0.5), ["fog", "mist"])
    with pytest.raises(ValueError, match=r"Received: \[\]"):
        mean_accuracy(constant(0.5), [])
