import itertools

import keras
import numpy as np
import pytest
from conftest import BACKEND, compiled
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.mixing import schemes
from nfm_keras.mixing.techniques import graphcut, puzzle
from nfm_keras.mixing.techniques.puzzlemix import PuzzleMix, move

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
QUIET = {"sigma_add": 0.0, "sigma_mult": 0.0}


def edge(image, axis, index):
    """Means of 4x4 pixels on both sides of the cut of an 8x8 image in a 2x2 grid."""
    means = image.reshape(2, 4, 2, 4, 3).mean((1, 3))
    return np.take(means, 0, axis)[index], np.take(means, 1, axis)[index]


def direct_energy(mask, image, partner, unary, partner_unary, lam):
    """The published energy of a mask of zeros and ones, spelled out."""
    price = puzzle.BETA / 2 / 16
    total = (mask * partner_unary + (1 - mask) * unary).sum()
    law = np.array([(1 - lam) ** 2, 2 * lam * (1 - lam), lam**2])
    total += -puzzle.ETA / 4 * np.log(law + 1e-8)[(2 * mask).astype(int)].sum()
    shown = (partner, image)
    for axis, index in itertools.product((0, 1), repeat=2):
        a, b = np.take(mask, 0, axis)[index], np.take(mask, 1, axis)[index]
        before = edge(shown[int(a)], axis, index)[0]
        after = edge(shown[int(b)], axis, index)[1]
        total += puzzle.GAMMA * price * abs(before - after).mean()
        total += price * (a - b) ** 2
    return total


def test_energy_is_the_published_one():
    """Up to what is the same for every mask."""
    images, saliency = RNG.random((4, 8, 8, 3)), RNG.random((4, 8, 8))
    partner, lam = np.array([2, 3, 1, 0]), 0.3
    unary = puzzle.pool(saliency, 2)
    unary /= unary.sum((1, 2), keepdims=True)
    given = puzzle.energy(images, unary, partner, lam, 2)
    differences = []
    for bits in itertools.product((0.0, 1.0), repeat=4):
        mask = np.array(bits).reshape(2, 2)
        labels = np.broadcast_to(2 - 2 * mask, (4, 2, 2))
        ours = graphcut.energies(labels, *given)
        direct = [
            direct_energy(mask, images[i], images[p], unary[i], unary[p], lam)
            for i, p in enumerate(partner)
        ]
        differences.append(ours - direct)
    np.testing.assert_allclose(
        differences, np.tile(differences[0], (16, 1)), atol=1e-12
    )


def test_transport_is_the_best_of_all_assignments():
    unary = RNG.random((8, 2, 2)) * 3
    used = RNG.random((8, 2, 2)) < 0.6
    plans = puzzle.transport(unary, used)
    place = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])

    def price(plan, i):
        apart = ((place[list(plan)] - place) ** 2).sum(1)
        cost = puzzle.TRANSPORT * apart - unary[i].ravel()[list(plan)]
        return cost[used[i].ravel()].sum()

    for i, plan in enumerate(plans):
        best = min(price(p, i) for p in itertools.permutations(range(4)))
        assert price(plan, i) == pytest.approx(best)
        assert len(set(plan[used[i].ravel()])) == used[i].sum()


def test_what_matters_in_both_images_is_kept():
    saliency = np.full((2, 8, 8), 1e-3)
    saliency[0, :, :4] = saliency[1, :, 4:] = 1
    images = RNG.random((2, 8, 8, 3)) * 0.01
    for grid in (2, 4):
        mask, first, second = puzzle.solve(
            images, saliency, np.array([1, 0]), 0.5, grid
        )
        assert (mask[0, :, :4] == 1).all() and (mask[0, :, 4:] == 0).all()
        assert mask[0].mean() == 0.5


def test_blocks_move_whole():
    images = np.arange(2 * 8 * 8.0).reshape(2, 8, 8, 1).astype("float32")
    plan = np.array([[3, 1, 2, 0], [0, 1, 2, 3]])
    pixels = ops.convert_to_tensor(puzzle._pixels(plan, 2, 8, 8))
    moved = ops.convert_to_numpy(move(ops.convert_to_tensor(images), pixels))
    np.testing.assert_array_equal(moved[0, :4, :4], images[0, 4:, 4:])
    np.testing.assert_array_equal(moved[0, 4:, 4:], images[0, :4, :4])
    np.testing.assert_array_equal(moved[0, :4, 4:], images[0, :4, 4:])
    np.testing.assert_array_equal(moved[1], images[1])


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_labels_are_mixed_by_the_mean_of_the_mask():
    """The mean shade of an image is the mixed label only if they are; the gradient of
    a loss of 0 is 0, so that no image has any saliency."""
    shades = np.linspace(0, 1, 8, dtype="float32").reshape(8, 1, 1, 1)
    images = np.tile(shades, (1, 8, 8, 1))
    inputs = keras.Input((8, 8, 1))
    network = keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs))
    technique = PuzzleMix(grids=(2, 4, 8))
    model = nfm.NFMModel(network, nfm.Mixing(**QUIET), technique=technique)
    model.compile("sgd", "mse")
    losses = model.fit(images, shades[:, 0, 0], batch_size=8, epochs=6, verbose=0)
    assert max(losses.history["loss"]) < 1e-9
    # They are mixed: other labels do not fit.
    wrong = model.fit(images, shades[::-1, 0, 0], batch_size=8, epochs=3, verbose=0)
    assert min(wrong.history["loss"]) > 1e-3


def convolutional(**kwargs):
    network = nfm.networks.build("small_resnet", (8, 8, 3), 3, width=0.25)
    mixing = schemes.mixing("puzzlemix", nfm.find_sites(network))
    model = nfm.NFMModel(network, mixing, technique=PuzzleMix((2, 4), **kwargs))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("kwargs", [{}, {"attack_probability": 1.0}], ids=str)
def test_a_batch_is_a_function_of_seed_and_step_and_leaves_the_model_alone(kwargs):
    model = convolutional(**kwargs)
    images = RNG.random((6, 8, 8, 3)).astype("float32")
    labels = np.arange(6) % 3
    before = model.get_weights()

    def prepare(images, labels, step):
        draw = model.mixing.draw(0, step, 6, 1)
        batch = model.technique.prepare(model, images, labels, draw)
        return batch.images, batch.draw.lam

    run, step = compiled(prepare), ops.convert_to_tensor(3)
    found, again = (
        [ops.convert_to_numpy(v) for v in run(images, labels, step)] for _ in range(2)
    )
    for a, b in zip(found, again, strict=True):
        np.testing.assert_array_equal(a, b)
    mixed, lam = found
    assert mixed.shape == images.shape and lam.shape == (6,)
    assert mixed.min() >= 0 and mixed.max() <= 1
    assert set(lam * 32 % 1) == {0}  # means of 1, 1/2 and 0 over 16 blocks
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_clean_loss_is_added_with_its_weight():
    images = RNG.random((6, 8, 8, 3)).astype("float32")
    labels, losses = np.arange(6) % 3, []
    for clean_lam, weight in ((0, 1.0), (1, 1.0), (3, 1.0), (1, 2.0)):
        keras.utils.set_random_seed(0)
        model = convolutional(clean_lam=float(clean_lam))
        weights = np.full(6, weight)
        history = model.fit(images, labels, sample_weight=weights, verbose=0).history
        losses.append(history["loss"][0])
    clean = losses[1] - losses[0]
    assert clean > 0.1 and losses[2] - losses[0] == pytest.approx(3 * clean, rel=1e-3)
    assert losses[3] == pytest.approx(2 * losses[1], rel=1e-5)


def test_what_it_cannot_take_is_refused_by_name():
    with pytest.raises(ValueError, match="must divide the image; \\[16\\].*8x8"):
        PuzzleMix().check((8, 8, 1))
    with pytest.raises(ValueError, match="PuzzleMix must be given images.*\\(5,\\)"):
        PuzzleMix().check((5,))
    for wrong in ((2, 1), (2, 2.7), (), "48", 4):
        with pytest.raises(ValueError, match="`grids` must be .*Received: "):
            PuzzleMix(wrong)
    with pytest.raises(ValueError, match="`attack_probability`.*Received: 2"):
        PuzzleMix(attack_probability=2)
    with pytest.raises(ValueError, match="`clean_lam` must be .*Received: -1"):
        PuzzleMix(clean_lam=-1)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX calls the host under XLA")
def test_xla_on_tensorflow_is_refused():
    model = convolutional()
    with pytest.raises(ValueError, match="PuzzleMix runs in part on the host.*=True"):
        model.compile("sgd", "mse", jit_compile=True)
    assert not model.jit_compile
