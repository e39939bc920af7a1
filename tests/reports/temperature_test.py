"""The temperature of a report is fitted on what the run held out, or not at all."""

import types

import keras
import numpy as np

from nfm_keras import data
from nfm_keras.evaluation.classifiers import Loaded
from nfm_keras.reports.pages import temperature
from nfm_keras.theory.calibration import calibrate


def test_a_run_with_validation_has_a_temperature_and_others_are_named():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    splits = data.load("digits", validation=100)
    record = types.SimpleNamespace(config={"validation": 100}, dataset="digits")
    loaded = [Loaded("held", model, record), Loaded("file", model)]
    text = temperature.section(loaded, splits.test)
    pairs = [
        (model.predict(part.images / np.float32(255), verbose=0), part.labels)
        for part in (splits.validation, splits.test)
    ]
    found = calibrate(*pairs)
    row = f"| held | {found.temperature:.3g} | 100 | {found.accuracy:.1f} |"
    assert row in text and f"| {found.confidence_after:.1f} |" in text
    assert "None for file: no held-out images" in text


def test_there_is_no_temperature_where_every_held_out_image_is_right():
    """The likelihood would rise for ever: what is scored keeps its confidence."""
    right = np.array([[2.0, 0.0], [0.0, 3.0]]), [0, 1]
    scored = np.array([[1.0, 0.0], [1.0, 0.0]]), [0, 1]
    found = calibrate(right, scored)
    assert found.temperature == 1 and found.nll_before == found.nll_after
    wrong = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]]), [0, 1, 1]
    assert calibrate(wrong, scored).temperature != 1
