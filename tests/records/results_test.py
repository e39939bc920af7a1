import dataclasses
import json

import numpy as np
import pytest

from nfm_keras.records import evaluation as results
from nfm_keras.records.evaluation import Evaluation, Result
from nfm_keras.records.run import Score


def result(perturbation, right, **changes):
    right = np.asarray(right, bool)
    n, correct = len(right), int(right.sum())
    value = 100 * correct / n
    score = Score(perturbation, 1.0, "none", value, 0.0, 100.0, n, correct, 0, 0.1, {})
    return Result(dataclasses.replace(score, **changes), results.pack(right))


def test_hits_survive_packing_at_any_length():
    for n in (1, 7, 8, 9, 1000):
        right = np.random.default_rng(n).random(n) < 0.5
        assert np.array_equal(result("clean", right).right, right)


def test_a_saved_evaluation_reads_back_equal(tmp_path):
    made = Evaluation(
        model="nfm",
        dataset="digits",
        images="ab",
        probe=[[0.5, -1.0]],
        results=(result("fog@1", [1, 0, 1]),),
        reliability={"edges": [0.0, 1.0], "counts": [3.0]},
        certifications=({"sigma": 0.1, "radii": [0.2]},),
        checks=({"name": "finite", "passed": True, "value": None},),
    )
    results.save(made, tmp_path / "evaluation.json")
    found = results.load(tmp_path / "evaluation.json")
    assert found == made and found.result("fog@1").right.tolist() == [1, 0, 1]
    assert list(found) == [made.results[0].score] and found.result("fog@2") is None
    content = json.loads((tmp_path / "evaluation.json").read_text())
    (tmp_path / "evaluation.json").write_text(json.dumps(content | {"format": 9}))
    with pytest.raises(ValueError, match="not a valid evaluation.*Received: 9"):
        results.load(tmp_path / "evaluation.json")


def test_the_interval_of_a_mean_counts_images_and_not_rows():
    """Ten rows that agree are worth one: the interval must not shrink."""
    right = np.random.default_rng(0).random(400) < 0.7
    mean, low, high = results.mean_accuracy([result("fog@1", right)])
    again = results.mean_accuracy([result(f"fog@{s}", right) for s in range(10)])
    np.testing.assert_allclose(again, (mean, low, high))
    share = right.mean()
    half = 196 * np.sqrt(share * (1 - share) / 400)
    np.testing.assert_allclose((mean, high - mean), (100 * share, half))
    # Rows that hit half of the images each leave no doubt about the mean.
    opposite = [result("fog@1", right), result("fog@2", ~right)]
    np.testing.assert_allclose(results.mean_accuracy(opposite), (50, 50, 50))
    for bad in ([], [result("fog@1", right), result("fog@2", right[:9])]):
        with pytest.raises(ValueError, match="Received: rows of"):
            results.mean_accuracy(bad)
