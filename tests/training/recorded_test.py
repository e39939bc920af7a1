"""Numbers that the README quotes, measured again."""

import pathlib

import pytest
from conftest import BACKEND

from nfm_keras import data, evaluation, records

FOLDER = pathlib.Path(__file__).parents[2] / "savedmodels" / "cifar10_nfm" / "1"


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="a SavedModel")
def test_the_exported_model_scores_what_its_record_says():
    import tensorflow as tf

    try:
        test = data.load("cifar10").test
    except FileNotFoundError as error:
        pytest.skip(str(error))
    model = tf.saved_model.load(str(FOLDER))  # kept, or its variables are deleted

    def classifier(images):
        return model.signatures["serving_default"](images=images)["logits"]

    recorded = {s.perturbation: s for s in records.load(FOLDER / records.FILE).scores}
    names = ["clean", "white_noise@0.2", "salt_and_pepper@0.1"]
    for score in evaluation.evaluate(classifier, test, names):
        # An image in ten thousand may sit on a boundary of another machine.
        assert abs(score.correct - recorded[score.perturbation].correct) <= 5
    assert recorded["clean"].n == len(test.images)
