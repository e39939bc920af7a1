"""Attacks compute in float32, whatever Keras takes for numbers without a type."""

import keras
import numpy as np
import pytest
from keras import ops

from nfm_keras.attacks import APGD, FAB, PGD, Square

pytestmark = pytest.mark.backends

ATTACKS = (
    PGD(0.05, steps=2),
    APGD(0.05, "l2", loss="dlr", steps=2),
    FAB(0.05, steps=1),
    Square(0.05, "l2", queries=3),
)


def found(attack):
    """Adversarial images of a fresh classifier, which is compiled anew."""
    rng = np.random.default_rng(0)
    images = rng.random((6, 8, 8, 1), "float32")
    weights = rng.standard_normal((64, 4), "float32")

    def classifier(images):
        return ops.matmul(ops.reshape(images, (-1, 64)), weights)

    labels = (images.reshape(6, 64) @ weights).argmax(axis=1)
    return attack(classifier, images, labels).images


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_no_attack_depends_on_the_default_type(attack):
    expected, usual = found(attack), keras.config.floatx()
    try:
        for floatx in ("float64", "bfloat16"):
            keras.config.set_floatx(floatx)
            np.testing.assert_array_equal(found(attack), expected, strict=True)
    finally:
        keras.config.set_floatx(usual)
