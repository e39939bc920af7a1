import dataclasses

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_run import LAYERED, arrays

import nfm_keras as nfm
from nfm_keras import training
from nfm_keras.training import run as running
from nfm_keras.training.weights import averaging

pytestmark = pytest.mark.backends


def test_the_classifier_has_the_mean_of_the_last_epochs(tmp_path, monkeypatch):
    """Also of a run that was stopped between them."""
    config = dataclasses.replace(LAYERED, epochs=4, swa_epochs=3)
    ends = []
    update = averaging.Averages.update

    def spy(self, network):
        update(self, network)
        ends.append(
            [ops.convert_to_numpy(v).copy() for v in network.trainable_variables]
        )
        if len(ends) == 2 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise KeyboardInterrupt

    monkeypatch.setattr(averaging.Averages, "update", spy)
    monkeypatch.setattr(running, "_STATISTICS_STEPS", 3)
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        training.train(config, folder, verbose=0)
    training.train(config, folder, verbose=0, resume=True)
    assert len(ends) == 4  # the one that was stopped was done again
    np.testing.assert_array_equal(ends[1][0], ends[2][0])
    saved = keras.saving.load_model(folder / training.CLASSIFIER, compile=False)
    for variable, *values in zip(saved.trainable_variables, *ends[:1], *ends[2:]):
        expected = np.mean(values, axis=0)
        np.testing.assert_allclose(variable, expected, rtol=1e-5, atol=1e-6)
    held = [a for name, a in arrays(folder).items() if "averages" in name]
    assert any(a.shape == () and a == 3 for a in held)


def test_statistics_are_those_of_what_passes_the_sites():
    """Of noise with a known variance, which only a pass with sites adds."""
    inputs = keras.Input((4,))
    x = nfm.NoisyFeatureMixup(name="site_0")(inputs)
    norm = layers.BatchNormalization(momentum=0.999)
    network = keras.Model(inputs, norm(x))
    mixing = nfm.Mixing(alpha=0.0, sigma_add=2.0, sigma_mult=0.0, noise="gaussian")
    model = nfm.NFMModel(network, mixing)
    model.compile("sgd", "mse")
    constant = np.full((500, 4), 7.0, "float32")
    kernel = ops.convert_to_numpy(norm.gamma)
    averaging.refresh_statistics(model, [(constant, None)] * 30, 20)
    np.testing.assert_allclose(norm.moving_mean, [7.0] * 4, atol=0.3)
    np.testing.assert_allclose(norm.moving_variance, [4.0] * 4, rtol=0.2)
    np.testing.assert_array_equal(norm.gamma, kernel)
    assert norm.momentum == 0.999
