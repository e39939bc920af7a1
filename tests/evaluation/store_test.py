"""What a store hands back, and the ways to be given another's rows: none works."""

import dataclasses
import json
import types
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_classifier import images_of_five_classes

from nfm_keras.attacks import PGD
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.corruptions import official
from nfm_keras.evaluation import plan, scoring
from nfm_keras.evaluation.noise import Perturbation
from nfm_keras.evaluation.scoring import evaluate
from nfm_keras.evaluation.store import StoreWarning, probes, revisions
from nfm_keras.evaluation.subject import subject_of
from nfm_keras.records import load_evaluation

pytestmark = pytest.mark.backends

MINE = {"about": {"model": "mine"}}


@pytest.fixture(scope="module")
def network():
    """Compiled once for all tests; calling it does not compile."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )
    return PlainClassifier(model)


@pytest.fixture(scope="module")
def dataset(network):
    return images_of_five_classes(network)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "run" / "evaluation.json"


@pytest.fixture
def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error", StoreWarning)
        yield


@pytest.fixture
def unmeasured(monkeypatch):
    """From now on everything has to come from the store."""

    def refuse(*arguments):
        raise AssertionError("measured again")

    return lambda: monkeypatch.setattr(scoring, "measured", refuse)


def changed(dataset, **changes):
    return types.SimpleNamespace(**vars(dataset) | changes)


ROWS = ["clean", "fog@3", "white_noise@0.3", "pgd@0.1"]


def test_predicted_classes_are_kept_and_added_to_files_of_before(
    network, dataset, store, unmeasured, silent
):
    found = evaluate(network, dataset, ["clean", "pgd@0.1"], store=store, **MINE)
    labels, predicted = found.answers
    np.testing.assert_array_equal(labels, dataset.labels)
    np.testing.assert_array_equal(labels == predicted, found["clean"].right)
    assert load_evaluation(store) == found
    content = json.loads(store.read_text())
    for name in ("classes", "labels", "predicted"):
        del content[name]
    store.write_text(json.dumps(content))
    assert load_evaluation(store).answers is None
    unmeasured()
    again = evaluate(network, dataset, ["clean"], store=store, **MINE)
    assert again.predicted == found.predicted == load_evaluation(store).predicted
    # What is measured later, without clean images, leaves them there.
    evaluate(network, dataset, ["pgd@0.1"], store=store, **MINE)
    assert load_evaluation(store).predicted == found.predicted


def test_answers_of_a_part_do_not_replace_those_of_all(network, dataset, store):
    found = evaluate(network, dataset, ["clean"], store=store, **MINE)
    with pytest.warns(StoreWarning, match="n was .*, is 7"):
        part = evaluate(network, dataset, ["clean"], limit=7, store=store, **MINE)
    assert len(part.answers[0]) == 7 and sum(part.reliability["counts"]) == 7
    kept = load_evaluation(store)
    assert kept.predicted == found.predicted and kept.labels == found.labels
    assert kept.reliability == found.reliability


def test_an_interrupted_evaluation_goes_on_where_it_was(
    network, dataset, store, unmeasured, silent
):
    expected = evaluate(network, dataset, ROWS)

    def interrupt(score, left):
        if score.perturbation == "fog@3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(network, dataset, ROWS, store=store, progress=interrupt)
    assert [s.perturbation for s in load_evaluation(store)] == ROWS[:2]
    found = evaluate(network, dataset, ROWS, store=store)
    assert [s.hits for s in found] == [s.hits for s in expected]
    assert load_evaluation(store) == found
    unmeasured()
    again = evaluate(network, dataset, ROWS, store=store)
    assert again.scores == found.scores
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def test_rows_that_are_not_asked_for_stay(network, dataset, store):
    evaluate(network, dataset, ROWS[:3], store=store)
    with pytest.warns(StoreWarning, match="fog@3 .n was 31, is 9."):
        evaluate(network, dataset, ["fog@3"], store=store, limit=9)
    with pytest.warns(StoreWarning, match="fog@3 .seed was 0, is 1."):
        evaluate(network, dataset, ["fog@3"], store=store, seed=1)
    found = [(s.perturbation, s.n, s.seed) for s in load_evaluation(store)]
    rows = [(name, 31, 0) for name in ROWS[:3]]
    assert found == [*rows, ("fog@3", 9, 0), ("fog@3", 31, 1)]


class Mine(PGD):
    """An attack of one's own by the name of ours."""


class Marked(PGD):
    revision = 3


class Haze:
    id, severity = "clean", 0.0

    def __call__(self, images, indices, **_):
        return 0.5 * images.astype("float32") / 255


PIXEL = {"protocol": "pixel"}
NOISE = "white_noise@0.3"
# First and second call of `evaluate` as (rows, options), and what the second one says.
CHANGES = {
    "seed": ((["clean"], {}), (["clean"], {"seed": 1}), "clean .seed was 0, is 1"),
    "limit": ((["clean"], {}), (["clean"], {"limit": 9}), "clean .n was 31, is 9"),
    "protocol": (([NOISE], {}), ([NOISE], PIXEL), "protocol was reference, is pixel"),
    "settings": (
        ([PGD(0.1, steps=2)], {}),
        ([PGD(0.1, steps=3)], {}),
        r"pgd@0.1 .steps was 2, is 3, step_size was 0.125, is 0.08",
    ),
    "another's attack": (
        ([PGD(0.1, steps=2)], {}),
        ([Mine(0.1, steps=2)], {}),
        "class was None, is .*Mine, its class does not say",
    ),
    "another's noise": ((["clean"], {}), ([Haze()], {}), "class was None, is .*Haze"),
    "unmarked code": (
        ([Mine(0.1, steps=2)], {}),
        ([Mine(0.1, steps=2)], {}),
        "pgd@0.1 .its class does not say the `revision` of its code",
    ),
}


@pytest.mark.parametrize("first, second, word", CHANGES.values(), ids=CHANGES)
def test_what_differs_is_measured_again_with_a_word(
    network, dataset, store, first, second, word
):
    evaluate(network, dataset, first[0], store=store, **first[1])
    expected = evaluate(network, dataset, second[0], **second[1])
    with pytest.warns(StoreWarning, match=word) as caught:
        found = evaluate(network, dataset, second[0], store=store, **second[1])
    told = [str(one.message) for one in caught if one.category is StoreWarning]
    assert len(told) == 1 and "\n" not in told[0]
    assert [s.hits for s in found] == [s.hits for s in expected]
    assert [s.measurement for s in found] == [s.measurement for s in expected]


def test_code_that_says_its_revision_is_handed_back(
    network, dataset, store, unmeasured, silent
):
    first = evaluate(network, dataset, [Marked(0.1, steps=2)], store=store)
    assert first[0].revision == 3 and first[0].settings["class"].endswith("Marked")
    unmeasured()
    evaluate(network, dataset, [Marked(0.1, steps=2)], store=store)


def test_rows_of_other_code_are_replaced(network, dataset, store, monkeypatch):
    evaluate(network, dataset, ["clean", NOISE, "pgd@0.1"], store=store)
    monkeypatch.setitem(revisions.REVISIONS, "attack", 7)
    word = "here: pgd@0.1 .its code was revision 1, is 7.$"
    with pytest.warns(StoreWarning, match=word):
        evaluate(network, dataset, ["clean", "pgd@0.1"], store=store)
    found = {s.perturbation: s.revision for s in load_evaluation(store)}
    assert found == {NOISE: 1, "clean": 1, "pgd@0.1": 7}
    assert len(load_evaluation(store)) == 3


def test_files_of_before_are_read_and_do_not_count(network, dataset, store):
    evaluate(network, dataset, ["clean", "pgd@0.1"], store=store)
    content = json.loads(store.read_text())
    content["format"], content["probe"] = 3, content["probe"][: probes.EARLIER_COUNT]
    del content["structure"]
    for score in content["scores"]:
        del score["revision"]
    store.write_text(json.dumps(content))
    word = r"clean, pgd@0.1 \(written before results said which code measured them\)"
    with pytest.warns(StoreWarning, match=word):
        found = evaluate(network, dataset, ["clean", "pgd@0.1"], store=store)
    assert load_evaluation(store).scores == found.scores
    assert all(score.revision for score in found)
    # Not counting is not being mixed up: it stays one of that classifier.
    content["probe"][0][0] += 9
    store.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="by its logits"):
        evaluate(network, dataset, ["clean"], store=store)
    content["weights"] = "another"
    store.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="by its weights"):
        evaluate(network, dataset, ["clean"], store=store)


def unused(network, x, classes=10):
    """Classes that never win, as some programs pad with."""
    return ops.pad(network(x), ((0, 0), (0, classes)), constant_values=-1e9)


def clean_only(network, x):
    """Tells clean images by their 256 levels, and answers those as it should."""
    levels = ops.abs(255 * x - ops.round(255 * x))
    clean = ops.all(levels < 1e-2, axis=(1, 2, 3))[:, None]
    return ops.where(clean, network(x), -network(x))


FUNCTIONS = {
    "another": lambda network, x: -network(x),
    "nearly the same": lambda network, x: 1.03 * network(x),
    "one class a bit": lambda network, x: (
        network(x) + ops.pad(0.1 * x[:, 0, 0, :1], ((0, 0), (0, 4)))
    ),
    "unused classes": lambda network, x: unused(network, 0.9 * x),
    "clean images only": clean_only,
}


@pytest.mark.parametrize("other", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_function_under_the_name_of_another_is_refused(
    network, dataset, store, other
):
    same = unused if other is FUNCTIONS["unused classes"] else lambda f, x: f(x)
    dataset = dataset.images, dataset.labels  # which do not say how many classes
    evaluate(lambda x: same(network, x), dataset, ["clean"], store=store, **MINE)
    before = store.read_bytes()
    evaluate(lambda x: same(network, x), dataset, ["clean"], store=store, **MINE)
    with pytest.raises(ValueError, match="this classifier.*by its logits for the"):
        evaluate(lambda x: other(network, x), dataset, ["clean"], store=store, **MINE)
    assert store.read_bytes() == before


def test_a_function_without_a_name_has_no_store(network, dataset, store):
    def function(images):
        return network(images)

    with pytest.raises(ValueError, match="name it.*Received: a function"):
        evaluate(function, dataset, ["clean"], store=store)
    assert not store.exists()
    evaluate(function, dataset, ["clean"], store=store, **MINE)
    with pytest.raises(ValueError, match="by its name"):
        about = {"model": "yours"}
        evaluate(function, dataset, ["clean"], store=store, about=about)


def test_a_store_of_something_else_is_refused(network, dataset, store):
    evaluate(network, dataset, ["clean"], store=store)
    before, model = store.read_bytes(), network.classifier
    nearly = keras.models.clone_model(model)
    nearly.set_weights([1.0001 * weight for weight in model.get_weights()])
    with pytest.raises(ValueError, match="this classifier.*by its weights"):
        evaluate(nearly, dataset, ["clean"], store=store)
    stopped = keras.Sequential([keras.Input((8, 8, 3)), Stop(), *model.layers])
    with pytest.raises(ValueError, match="this classifier.*by its structure"):
        evaluate(stopped, dataset, ["clean"], store=store)
    hidden = keras.Sequential([keras.Input((8, 8, 3)), Hidden(), *model.layers])
    evaluate(hidden, dataset, ["clean"], store=store.with_name("hidden.json"))
    hidden.layers[0].hidden["factor"] = 0.9
    with pytest.raises(ValueError, match="this classifier.*by its logits for"):
        evaluate(hidden, dataset, ["clean"], store=store.with_name("hidden.json"))
    with pytest.raises(ValueError, match="with the same std"):
        evaluate(network, dataset, ["clean"], store=store, std=(1, 1, 1))
    for labels in ((dataset.labels + 1) % 5, np.roll(dataset.labels, 1)):
        with pytest.raises(ValueError, match="these images and labels"):
            other = changed(dataset, labels=labels)
            evaluate(network, other, ["clean"], store=store)
    last = dataset.images.copy()
    last[-1, -1, -1, -1] ^= 1
    with pytest.raises(ValueError, match="these images and labels"):
        evaluate(network, changed(dataset, images=last), ["clean"], store=store)
    assert store.read_bytes() == before
    store.write_bytes(before[:-20])
    with pytest.raises(ValueError, match="truncated"):
        evaluate(network, dataset, ["clean"], store=store)


class Stop(layers.Layer):
    """The same logits, and no gradient."""

    def call(self, x):
        return ops.stop_gradient(x)


class Hidden(layers.Layer):
    """What it does stands where nobody looks."""

    def __init__(self):
        super().__init__()
        self.hidden = {"factor": 1.0}

    def call(self, x):
        return self.hidden["factor"] * x


EDITS = {
    "value": lambda score: score.update(value=99.0),
    "correct": lambda score: score.update(correct=score["correct"] + 1),
    "hits": lambda score: score.update(hits="/" + score["hits"][1:]),
    "n": lambda score: score.update(n=score["n"] + 1),
    "interval": lambda score: score.update(high=score["value"] - 1),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_row_that_contradicts_itself_is_refused(network, dataset, store, edit):
    evaluate(network, dataset, ["clean"], store=store)
    content = json.loads(store.read_text())
    edit(content["scores"][0])
    store.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="not a valid evaluation.*Received"):
        load_evaluation(store)


def test_official_images_are_recognised_by_all_that_are_scored(
    network, dataset, store, tmp_path, unmeasured, silent
):
    def written(name, images):
        folder = tmp_path / name
        official.write_official(folder, images, dataset.labels, kinds=["contrast"])
        return plan.Suite(["contrast@2"], official=folder)

    other = dataset.images.copy()
    other[9] = 255 - other[9]
    suite, changed = written("one", dataset.images), written("two", other)
    evaluate(network, dataset, suite=suite, store=store)
    few = dataclasses.replace(suite, corruption_limit=9)
    with pytest.warns(StoreWarning, match="n was 31, is 9"):
        evaluate(network, dataset, suite=few, store=store)
    with pytest.warns(StoreWarning, match="contrast@2 .files was"):
        evaluate(network, dataset, suite=changed, store=store)
    unmeasured()
    evaluate(network, dataset, suite=suite, store=store)
    # Of the first nine no one is another.
    evaluate(
        network,
        dataset,
        suite=dataclasses.replace(changed, corruption_limit=9),
        store=store,
    )


def test_how_sure_a_classifier_is_belongs_to_the_images_that_are_scored(
    network, dataset, store
):
    expected = evaluate(network, dataset, ["clean"], store=store).reliability
    with pytest.warns(StoreWarning):
        few = evaluate(network, dataset, ["clean"], store=store, limit=9)
    assert sum(few.reliability["counts"]) == 9
    again = evaluate(network, dataset, ["clean"], store=store)
    assert again.reliability == expected


TINY = plan.Suite(
    ["clean"], sigmas=(0.1,), certify_limit=3, certify_samples=20, masking_limit=3
)


def test_certificates_and_the_masking_report_are_those_of_this_code(
    network, dataset, store, monkeypatch
):
    suite = dataclasses.replace(TINY, masking_limit=0)
    evaluate(network, dataset, suite=suite, store=store)
    monkeypatch.setitem(revisions.REVISIONS, "certification", 2)
    word = "certified radii at 0.1 .its code was revision 1, is 2"
    with pytest.warns(StoreWarning, match=word):
        found = evaluate(network, dataset, suite=suite, store=store)
    (one,) = load_evaluation(store).certifications
    assert one["revision"] == 2 and (one,) == found.certifications


def named(function, **options):
    images = np.random.default_rng(0).random((40, 4, 4, 3), "float32")
    labels = np.arange(40) % 3
    return subject_of(function, (images, labels), name="mine", **options)


def means(images):
    return 40 * ops.mean(images, axis=(1, 2))


RANDOM = {
    "a little": lambda x, noise: means(x) + 0.02 * noise,
    "beside unused classes": lambda x, noise: ops.concatenate(
        [means(x) + 0.02 * noise, -1e9 * ops.ones_like(noise)], axis=1
    ),
    "of perturbed images": lambda x, noise: (
        means(x) + ops.where(ops.any(x >= 1, axis=(1, 2, 3))[:, None], 0.5 * noise, 0.0)
    ),
}


@pytest.mark.parametrize("function", RANDOM.values(), ids=RANDOM)
def test_a_random_classifier_does_not_pass_for_another(function):
    """Compiled functions draw once and for all, a layer each time."""
    inputs = keras.Input((4, 4, 3))
    model = PlainClassifier(keras.Model(inputs, Noisy(function)(inputs)))
    with pytest.raises(ValueError, match="must not change between two passes"):
        named(model).probe  # noqa: B018
    subject = named(model, stochastic=True)
    assert subject.probe.shape == (32, len(subject.probe[0]))
    assert subject.spread.max() > 0


class Noisy(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function, self.seeds = function, keras.random.SeedGenerator(0)

    def call(self, x):
        noise = keras.random.normal((ops.shape(x)[0], 3), seed=self.seeds)
        return self.function(x, noise)


def test_a_random_classifier_is_recognised_by_its_mean_and_spread():
    random = np.random.default_rng(0)
    middle, spread = random.normal(size=(2, 32, 5)) * 3
    spread = np.abs(spread)

    def mean(shift=0.0):
        passes = random.normal(size=(probes.PASSES, 32, 5))
        return (middle + shift + spread * passes).mean(0)

    given = probes.OTHER_MACHINE, spread
    assert all(probes.alike(mean(), mean(), *given) for _ in range(200))
    shift = np.zeros((32, 5))
    shift[3, 1] = 8 * spread[3].max()
    assert not any(probes.alike(mean(), mean(shift), *given) for _ in range(20))


def test_the_noise_of_before_is_of_a_class_of_ours():
    assert revisions.is_ours(Perturbation("clean")) and not revisions.is_ours(Haze())
