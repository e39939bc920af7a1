"""Frost: textures and how they are laid."""

import numpy as np
import pytest
from pictures import pictures
from PIL import Image
from scipy import stats

from nfm_keras import corruptions
from nfm_keras.corruptions import frost


def test_frost_is_a_weighted_sum_with_a_random_piece(tmp_path):
    for index, name in enumerate(frost._FILES):
        texture = np.zeros((360, 330, 3), "uint8")
        texture[..., 0] = 40 * (index + 1)
        texture[..., 1] = np.arange(330) % 251
        texture[..., 2] = np.arange(360)[:, None] % 251
        Image.fromarray(texture).save(tmp_path / name, quality=100)
    black = np.zeros((400, 32, 32, 3), "uint8")
    corruption = corruptions.Corruption("frost", 1, frost_dir=str(tmp_path))
    frosted = corruption(black).astype(float) / 0.2
    chosen = np.rint(frosted[:, 0, 0, 0] / 40).astype(int)
    assert set(chosen) == {1, 2, 3, 4, 5}
    assert stats.chisquare(np.bincount(chosen)[1:]).pvalue > 1e-4
    pngs = frosted[chosen <= 3]
    steps = np.diff(pngs[:, 0, :, 1], axis=1)
    assert np.abs(steps[(steps > 0)] - 5).max() <= 5 + 1e-9  # every fifth pixel
    assert corruption.settings == {"constants": "auto", "frost": "textures"}


def test_frost_textures_are_reduced_as_opencv_does():
    cv2 = pytest.importorskip("cv2")
    texture = np.random.default_rng(0).integers(0, 256, (313, 562, 3), dtype="uint8")
    expected = cv2.resize(texture, (0, 0), fx=0.2, fy=0.2)
    np.testing.assert_array_equal(texture[2::5, 2::5], expected)


def test_frost_is_drawn_where_there_are_no_photographs(monkeypatch):
    monkeypatch.setattr(frost, "_installed", lambda: None)
    label, textures = corruptions.frost_source()
    assert label == "frost (synthetic)"
    assert len(textures) == 5 and len({texture.tobytes() for texture in textures}) == 5
    assert all(80 < texture.mean() < 180 and texture.std() > 15 for texture in textures)
    corruption = corruptions.Corruption("frost", 5)
    assert corruption.settings["frost"] == "synthetic"
    assert corruption(pictures(2, 224, 224)).shape == (2, 224, 224, 3)


def test_frost_finds_an_installed_package():
    pytest.importorskip("imagecorruptions")
    label, textures = corruptions.frost_source()
    assert label == "frost" and len(textures) == 5
    assert [texture.shape[-1] for texture in textures] == [3] * 5


def test_frost_names_missing_textures(tmp_path):
    with pytest.raises(ValueError, match="frost1.png.*missing. Received"):
        corruptions.frost_source(tmp_path)
