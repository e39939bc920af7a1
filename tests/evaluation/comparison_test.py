import dataclasses

import numpy as np
import pytest
import scipy.stats
from conftest import scored

from nfm_keras.evaluation.comparison import _holm, compare
from nfm_keras.records.evaluation import Evaluation


def evaluation(model, rows, images="same"):
    scores = tuple(scored(name, right) for name, right in rows.items())
    return Evaluation(model, "digits", images, [[0.0]], scores=scores)


def test_one_perturbation_is_mcnemars_test_with_the_second_minus_the_first():
    first = np.repeat([1, 1, 0, 0], (50, 2, 12, 36))
    second = np.repeat([1, 0, 1, 0], (50, 2, 12, 36))
    pair = [evaluation("a", {"clean": first}), evaluation("b", {"clean": second})]
    (found,) = compare(pair, {"clean": ["clean"], "fog": ["fog@1"]})
    assert (found.label, found.first, found.second, found.n) == ("clean", "a", "b", 100)
    assert found.difference == 10.0 and found.low < 10 < found.high
    assert found.p_value == pytest.approx(scipy.stats.binomtest(2, 14).pvalue)
    assert found.adjusted == found.p_value


def test_a_group_is_the_paired_t_test_over_images():
    random = np.random.default_rng(0)
    a, b = random.random((2, 5, 300)) < np.array([0.6, 0.7])[:, None, None]
    rows = [f"fog@{s}" for s in range(1, 6)]
    pair = [
        evaluation(name, dict(zip(rows, hits, strict=True)))
        for name, hits in (("a", a), ("b", b))
    ]
    (found,) = compare(pair, {"fog": rows})
    test = scipy.stats.ttest_rel(b.mean(0), a.mean(0))
    assert found.difference == pytest.approx(100 * (b.mean() - a.mean()))
    assert found.p_value == pytest.approx(test.pvalue)
    low, high = test.confidence_interval()
    assert (found.low, found.high) == pytest.approx((100 * low, 100 * high))


def test_without_a_difference_p_is_1_and_holm_is_the_published_one():
    right = np.ones(20, bool)
    pair = [
        evaluation("a", {"clean": right, "x@1": right, "y@1": right}),
        evaluation("b", {"clean": right, "x@1": ~right, "y@1": right[::-1]}),
    ]
    groups = {"clean": ["clean"], "x": ["x@1"], "both": ["clean", "y@1"]}
    found = compare(pair, groups)
    assert [each.p_value for each in found] == [1, 2 * 0.5**20, 1]
    assert [each.adjusted for each in found] == [1, 3 * 2 * 0.5**20, 1]
    given = [dataclasses.replace(found[0], p_value=p) for p in (0.01, 0.04, 0.03)]
    adjusted = [each.adjusted for each in _holm(given)]
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06])


def test_what_cannot_be_paired_is_left_out_or_refused():
    right = np.ones(20, bool)
    first = evaluation("a", {"clean": right, "pgd@1": right})
    other = evaluation("b", {"clean": right[:9], "pgd@1": right})
    changed = dataclasses.replace(other.scores[1], settings={"steps": 9})
    other = dataclasses.replace(other, scores=(other.scores[0], changed))
    assert compare([first, other], {x: [x] for x in ("clean", "pgd@1")}) == []
    with pytest.raises(ValueError, match=r"same images.*b on digits \(others"):
        compare([first, evaluation("b", {}, "others")], {})
