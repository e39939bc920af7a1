"""What a classifier or a data set must be, refused in words before any work."""

import dataclasses
import types

import keras
import numpy as np
import pytest
from conftest import BACKEND
from keras import ops

import nfm_keras as nfm
from nfm_keras.attacks import APGD, FAB, PGD, AutoAttack, Square
from nfm_keras.data.specs import DatasetSpec
from nfm_keras.evaluation import smoothing
from nfm_keras.evaluation.adversaries import breaking_radii, transfer
from nfm_keras.evaluation.masking import masking_report

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
IMAGES = RNG.random((40, 8, 8, 1), "float32")
WEIGHTS = 2 * RNG.standard_normal((64, 3), "float32")
LABELS = (IMAGES.reshape(40, 64) @ WEIGHTS).argmax(axis=1)
DATA = IMAGES, LABELS


def linear(images):
    return ops.matmul(ops.reshape(images, (-1, 64)), WEIGHTS)


class Noise(keras.layers.Layer):
    """Normal noise at inference too."""

    def __init__(self, size):
        super().__init__()
        self.size, self.generator = size, keras.random.SeedGenerator(3)

    def call(self, images):
        drawn = keras.random.normal(ops.shape(images), seed=self.generator)
        return images + self.size * drawn


def noisy(size):
    image = keras.Input((8, 8, 1))
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(Noise(size)(image)))
    model = keras.Model(image, logits)
    model.layers[-1].set_weights([WEIGHTS, np.zeros(3)])
    return model


class Training:
    """A module in training mode, as of PyTorch."""

    training, eval = True, print

    def __call__(self, images):
        raise AssertionError("a pass before it was refused")


ENTRIES = {
    "evaluate": lambda f: nfm.evaluate(f, DATA, ["clean"]),
    "output": lambda f: nfm.evaluate(f, DATA, ["clean"], output="logits"),
    "stand_in": lambda f: nfm.evaluate(linear, DATA, ["clean"], stand_in=f),
    "radii": lambda f: breaking_radii(f, DATA),
    "transfer": lambda f: transfer({"a": linear, "b": f}, DATA),
    "certify": lambda f: smoothing.certify(f, *DATA, sigma=0.1),
    "masking": lambda f: masking_report(f, *DATA),
    "attack": lambda f: PGD()(f, *DATA),
    "nearest": lambda f: FAB().nearest(f, *DATA),
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_a_module_in_training_mode_is_refused_everywhere(entry):
    with pytest.raises(ValueError, match="Received: .* in training mode"):
        entry(Training())


def test_a_random_classifier_is_attacked_by_averages_alone():
    model, few = noisy(0.5), (IMAGES[:3], LABELS[:3])
    attack = PGD(0.1, steps=1, eot=2)
    for measure in (
        lambda attack: breaking_radii(model, few, attack, [0.1]).smallest,
        lambda attack: transfer({"a": model, "b": linear}, few, attack).accuracy,
    ):
        words = "must not change between two passes.*`eot` above 1"
        with pytest.raises(ValueError, match=words):
            measure(dataclasses.replace(attack, eot=1))
        assert len(measure(attack))


def test_noise_larger_than_the_images_is_not_taken_for_another_range():
    """The images times 255 drown the noise: right of 97 % there, of half here."""
    found = nfm.evaluate(noisy(3.0), DATA, ["clean"], allow_stochastic=True)
    assert found[0].value < 60


def around_a_model():
    """A function whose compiled passes repeat the first draw on JAX."""
    model = noisy(1.0)
    return lambda images: model(images)


def of_numpy():
    """A function whose draw becomes a constant of the compiled graph."""
    draw = np.random.default_rng(0).standard_normal
    return lambda images: linear(images + draw((1, 8, 8, 1), "float32"))


FROZEN = [lambda: linear]
FROZEN += {"jax": [around_a_model, of_numpy], "tensorflow": [of_numpy]}.get(BACKEND, [])


@pytest.mark.parametrize("make", FROZEN)
def test_randomness_that_was_drawn_once_is_no_randomness(make):
    words = "must change between two passes.*compiled with a draw made once.*Received: "
    with pytest.raises(ValueError, match=words):
        nfm.evaluate(make(), DATA, ["clean"], allow_stochastic=True)


@pytest.mark.parametrize("count", [2, 4])
def test_a_classifier_of_other_classes_than_the_set_is_refused(count):
    spec = DatasetSpec("set", (8, 8, 1), tuple("abcd"[:count]), (0.5,), (0.25,))
    labels = LABELS % count
    dataset = types.SimpleNamespace(images=IMAGES, labels=labels, spec=spec)
    for measure in (
        lambda: nfm.evaluate(linear, dataset, ["clean"]),
        lambda: breaking_radii(linear, dataset),
        lambda: transfer({"a": linear, "b": linear}, dataset),
    ):
        words = f"each of the {count} classes of the set.*Received: 3 outputs"
        with pytest.raises(ValueError, match=words):
            measure()


def test_one_of_several_outputs_is_named_everywhere():
    def heads(images):
        return {"logits": linear(images), "features": images}

    few = IMAGES[:3], LABELS[:3]
    found = breaking_radii(heads, few, radii=[0.5], output="logits").smallest
    np.testing.assert_array_equal(
        found, breaking_radii(linear, few, radii=[0.5]).smallest
    )
    both = transfer({"a": heads, "b": heads}, few, "fgsm@0.2", output="logits")
    assert both.models == ("a", "b")
    with pytest.raises(ValueError, match="inputs.pick.*'features', 'logits'"):
        PGD()(heads, *few)


@pytest.mark.parametrize("labels", [[0, 1], [[1, 0, 0], [0, 1, 0]]])
def test_two_images_in_a_list_are_no_batch(labels):
    found = nfm.evaluate(linear, ([IMAGES[0], IMAGES[1]], labels), ["clean"])
    assert found[0].n == 2
    batches = [(IMAGES[:2], LABELS[:2]), (IMAGES[2:5], LABELS[2:5])]
    assert nfm.evaluate(linear, batches, ["clean"])[0].n == 5


def turned(images):
    return linear(ops.transpose(images, (0, 2, 3, 1)))


FIRST = IMAGES.transpose(0, 3, 1, 2), LABELS


def test_channels_first_are_refused_before_the_first_of_several_attacks():
    words = "Square needs images.*Received: channels first"
    for attack in (Square(0.1), AutoAttack(1e-6)):
        with pytest.raises(ValueError, match=words):
            attack.check(FIRST[0])
    calls = []

    def counted(images):
        calls.append(1)
        return turned(images)

    with pytest.raises(ValueError, match=words):
        AutoAttack(1e-6)(counted, *FIRST)
    assert not calls
    AutoAttack(version="rand").check(FIRST[0])
    PGD().check(FIRST[0])


def test_a_masking_report_goes_without_square_on_channels_first():
    report = masking_report(turned, FIRST[0][:3], LABELS[:3], epsilon=0.01)
    *others, search = report
    assert search.name == "random search" and search.passed is None
    assert "Square needs" in search.detail
    assert all(check.passed is not None for check in others)


def test_a_radius_that_holds_every_image_is_refused():
    """sqrt(8 * 8 * 1) = 8 is the distance from black to white."""
    for attack in (PGD(norm="l2"), APGD(norm="l2"), AutoAttack(norm="l2")):
        dataclasses.replace(attack, epsilon=8.0).check(IMAGES)
        wide = dataclasses.replace(attack, epsilon=8.1)
        with pytest.raises(ValueError, match="at most 8 in the l2 norm.*Received: 8.1"):
            wide(linear, *DATA)
    with pytest.raises(ValueError, match="Received: 128"):
        breaking_radii(linear, DATA, "pgd_l2", [0.5, 128])


@pytest.mark.parametrize("seed", [None, 1.5, True, "0"])
def test_a_seed_is_an_integer(seed):
    for measure in (
        lambda: nfm.evaluate(linear, DATA, ["clean"], seed=seed),
        lambda: smoothing.certify(linear, *DATA, sigma=0.1, seed=seed),
        lambda: masking_report(linear, *DATA, seed=seed),
        lambda: PGD()(linear, *DATA, seed=seed),
        lambda: FAB().nearest(linear, *DATA, seed=seed),
    ):
        with pytest.raises(ValueError, match=r"`seed` must be an integer\. Received: "):
            measure()


def test_a_seed_of_numpy_is_written_as_one_of_python():
    found = nfm.evaluate(linear, DATA, ["clean"], seed=np.int64(3))[0]
    assert type(found.seed) is int and found.seed == 3


def test_numbers_of_numpy_become_numbers_of_python():
    epsilon = np.linspace(0, 0.1, 8)[1]
    attack = PGD(epsilon, steps=np.int64(3), step_size=np.float32(0.1))
    assert attack.id == f"pgd@{float(epsilon)!r}"
    assert type(attack.epsilon) is float and attack == eval(repr(attack))
    kinds = {type(value) for value in attack.settings.values()}
    assert kinds == {str, int, float, bool}


def test_votes_are_scored_as_shares():
    """Of 25 voters that agree: no gradient, but noises and Square need none."""

    def votes(images):
        best = ops.argmax(linear(images), axis=1)
        return 25 * ops.one_hot(best, 3, dtype="float32")

    for measure in (
        lambda: nfm.evaluate(votes, DATA, ["clean"]),
        lambda: Square()(votes, *DATA),
    ):
        with pytest.raises(
            ValueError, match="divide them by 25 and say from_logits=False"
        ):
            measure()
    with pytest.raises(ValueError, match="votes, divided by how many vote"):
        nfm.evaluate(votes, DATA, ["clean"], from_logits=False)
    found = nfm.evaluate(
        lambda images: votes(images) / 25, DATA, ["clean"], from_logits=False
    )
    assert found[0].value == 100
    with pytest.warns(nfm.attacks.AttackWarning, match="round to 0 or 1"):
        attack = Square(0.05, queries=3)
        attack(
            lambda images: votes(images) / 25, IMAGES[:3], LABELS[:3], from_logits=False
        )
