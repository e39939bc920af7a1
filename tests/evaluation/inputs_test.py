"""What an evaluation takes: every kind of data set, one output of several."""

import io

import keras
import numpy as np
import pytest
from keras import layers
from small_classifier import images_of_five_classes

import nfm_keras as nfm
from nfm_keras.backend.classifier import PlainClassifier
from nfm_keras.data.labels import check_labels
from nfm_keras.evaluation import inputs
from nfm_keras.evaluation.inputs.spool import Spool
from nfm_keras.evaluation.progress.meter import Meter

pytestmark = pytest.mark.backends

ROWS = ["clean", "fgsm@8/255"]


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    flat = layers.Flatten()(image)
    coarse, fine = layers.Dense(2)(flat), layers.Dense(5, name="fine")(flat)
    return keras.Model(image, {"coarse": coarse, "fine": fine})


@pytest.fixture(scope="module")
def dataset(network):
    found = images_of_five_classes(inputs.pick(network, "fine"))
    return found.images, np.asarray(found.labels)


class Batches(keras.utils.PyDataset):
    """Batches of 8 as Keras' own; without an end where it has no length."""

    def __init__(self, images, labels, endless=False):
        super().__init__()
        self.given, self.endless = (images, labels), endless

    def __getitem__(self, index):
        at = np.arange(8 * index, 8 * index + 8)
        if not self.endless:
            at = at[at < len(self.given[0])]
        return tuple(part[at % len(part)] for part in self.given)

    def __len__(self):
        return -(-len(self.given[0]) // 8)

    @property
    def num_batches(self):
        return None if self.endless else len(self)


def tensorflow_batches(images, labels):
    tf = pytest.importorskip("tensorflow")
    pairs = tf.data.Dataset.from_tensor_slices({"image": images, "label": labels})
    return pairs.batch(8)


def torch_batches(images, labels):
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(*map(torch.tensor, (images, labels)))
    return torch.utils.data.DataLoader(pairs, 8)


KINDS = {
    "one-hot": lambda x, y: (x, np.eye(5, dtype="float32")[y]),
    "PyDataset": Batches,
    "two batches": lambda x, y: [(x[:8], y[:8]), (x[8:], y[8:])],
    "generator": lambda x, y: (
        (x[i : i + 8], np.eye(5)[y[i : i + 8]]) for i in range(0, len(x), 8)
    ),
    "one by one": lambda x, y: iter([*zip(x, y, strict=True)]),
    "one by one, with as many classes as rows": lambda x, y: iter(
        [*zip(x, np.eye(x.shape[1], dtype="float32")[y], strict=True)]
    ),
    "floats": lambda x, y: ((x[i : i + 1] / 255.0, y[i : i + 1]) for i in range(31)),
    "tf.data": tensorflow_batches,
    "DataLoader": torch_batches,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_data_set_gives_the_same_images_and_labels(dataset, kind):
    images, labels, _ = inputs.read(KINDS[kind](*dataset))
    assert images.dtype == np.uint8 and np.array_equal(images, dataset[0])
    checked = check_labels(labels, 31)
    assert np.array_equal(checked, dataset[1])


def test_a_stream_scores_as_arrays_do(network, dataset):
    given = {"output": "fine", "limit": 20, "progress": False}
    expected = nfm.evaluate(network, dataset, ROWS, **given)
    endless = Batches(*dataset, endless=True)
    scores = nfm.evaluate(network, endless, ROWS, **given)
    assert [s.hits for s in scores] == [s.hits for s in expected]
    assert 0 < scores[1].correct < scores[0].correct < 20
    with pytest.raises(ValueError, match="need a `limit`"):
        inputs.read(endless)


def test_a_spool_holds_bytes_until_a_float_needs_more():
    random = np.random.default_rng(0)
    grid = random.integers(0, 256, (5, 4, 4, 3)).astype("uint8")
    spool = Spool()
    spool.add(grid)
    spool.add(grid / np.float32(255))
    assert spool.images().dtype == np.uint8 and isinstance(spool.images(), np.memmap)
    floats = random.random((3, 4, 4, 3), "float32")
    spool.add(floats)
    spool.add(grid)
    expected = [grid / np.float32(255)] * 2 + [floats, grid / np.float32(255)]
    np.testing.assert_array_equal(spool.images(), np.concatenate(expected))


@pytest.mark.parametrize(
    "batches, message",
    [
        ([], "at least one image"),
        (iter([]), "at least one image"),
        (7, "must have `images` and `labels`"),
        ([{"picture": 1}] * 3, r"`image` and `label`. Received: \['picture'\]"),
        ([(np.zeros((2, 4, 4, 1), "uint8"), [0, 1], [1.0, 0.5])], "sample weights"),
        ([(np.full((2, 4, 4, 1), 255.0), [0, 1])], r"must lie in \[0,1\]"),
        (
            iter([(np.zeros((1, side, 4, 1), "uint8"), [0]) for side in (4, 5)]),
            "must have the shape",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_data_set_is_refused(batches, message):
    with pytest.raises(ValueError, match=message):
        inputs.read(batches)


def test_rows_that_are_not_one_hot_are_refused(network, dataset):
    soft = 0.9 * np.eye(5)[dataset[1]] + 0.02
    with pytest.raises(ValueError, match="31 other rows, such as"):
        nfm.evaluate(network, (dataset[0], soft), ["clean"], output="fine")


def test_one_output_of_several(network, dataset):
    class Code(keras.Model):
        def call(self, images):
            return list(network(images).values())

    named = [
        (network, "fine"),
        (lambda images: network(images), "fine"),
        (Code(), 1),
        (keras.Model(network.inputs, network.outputs), "fine"),
    ]
    for classifier, output in named:
        (score,) = nfm.evaluate(classifier, dataset, ["clean"], output=output)
        assert score.correct == 25, (classifier, output)
    with pytest.raises(ValueError, match="Unknown output. Did you mean 'fine'"):
        nfm.evaluate(network, dataset, ["clean"], output="find")
    with pytest.raises(ValueError, match="several outputs: name the one"):
        nfm.evaluate(network, dataset, ["clean"])


def test_of_an_nfm_model_the_classifier_is_scored_as_it_is_by_itself(network, dataset):
    """Without the scaling that `fit` does, whichever output is scored."""
    scaling = layers.Rescaling(1 / 255)
    model = nfm.NFMModel(network, nfm.Mixing(alpha=0, sigma_add=0, sigma_mult=0))
    scaled = nfm.NFMModel(network, model.mixing, preprocess=scaling)
    own = nfm.evaluate(network, dataset, ROWS, output="fine")
    for trained in (model, scaled):
        scores = nfm.evaluate(trained, dataset, ROWS, output="fine")
        assert [s.hits for s in scores] == [s.hits for s in own]


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_the_last_activation_of_an_nfm_model_is_seen(dataset, head):
    image = keras.Input((8, 8, 3))
    x = nfm.NoisyFeatureMixup()(image)
    outputs = layers.Dense(5, activation=head)(layers.Flatten()(x))
    network = keras.Model(image, outputs)
    ours, own = (PlainClassifier(m) for m in (nfm.NFMModel(network), network))
    assert ours.from_logits is False and ours.head == own.head == head
    images = dataset[0][:4]
    np.testing.assert_allclose(ours.logits_of(images), own.logits_of(images), 1e-5)


def test_sigmoids_are_told_by_the_layer_not_by_their_sum():
    """A row that sums to about 1 may be one of sigmoids all the same."""
    p = np.array([[0.974] + 9 * [0.002], [0.970] + 9 * [0.002]], "float32")
    network = keras.Sequential([keras.Input((10,)), layers.Activation("sigmoid")])
    odds = np.log(p / (1 - p))
    np.testing.assert_allclose(PlainClassifier(network).logits_of(odds), odds, 1e-4)


def test_a_model_is_scored_whole_whatever_its_parts_are_called(dataset):
    class Ensemble(keras.Model):
        def __init__(self):
            super().__init__()
            self.model = layers.Dense(5)
            self.mixing = nfm.Mixing()

        @property
        def classifier(self):
            raise AssertionError("a part, not the whole")

        def call(self, images, training=None):
            return self.model(keras.ops.mean(images, axis=(1, 2)))

    model = Ensemble()
    model(np.float32(dataset[0][:1]))
    (score,) = nfm.evaluate(model, dataset, ["clean"])
    logits = model(np.float32(dataset[0]) / 255)
    expected = keras.ops.convert_to_numpy(logits).argmax(1) == dataset[1]
    assert score.correct == expected.sum()
    assert nfm.find_sites(model) == []


def test_one_output_is_refused_whatever_the_labels(dataset):
    network = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(1, "sigmoid")]
    )
    images = dataset[0]
    for labels in (np.zeros(len(images), int), np.arange(len(images)) % 2):
        with pytest.raises(ValueError, match=r"gives \[0, z\]. Received: shape"):
            nfm.evaluate(network, (images, labels), ["clean"])


def test_without_a_std_the_protocol_is_the_pixels(network, dataset):
    given = {"output": "fine", "limit": 4}
    (score,) = nfm.evaluate(network, dataset, ["white_noise@0.1"], **given)
    assert score.protocol == "pixel"
    std = [0.2, 0.2, 0.2]
    (score,) = nfm.evaluate(network, dataset, ["white_noise@0.1"], std=std, **given)
    assert score.protocol == "reference"
    with pytest.raises(ValueError, match="Received: std=None"):
        nfm.evaluate(
            *(network, dataset, ["white_noise@0.1"]), protocol="reference", **given
        )


def test_progress_rises_to_the_end_inside_an_attack(network, dataset):
    told = []
    attack = nfm.attacks.AutoAttack(4 / 255, version="rand", steps=4, eot=2)
    with nfm.attacks.progress.listening(lambda share, what: told.append((share, what))):
        result = attack(inputs.pick(network, "fine"), *dataset)
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and len(shares) > 8 and shares[-1] == 1.0
    stages = {what.partition(":")[0] for _, what in told}
    assert stages == {"apgd_ce", "apgd_dlr"}
    stands = {what.partition(": ")[2] for _, what in told}
    assert f"{result.stages['clean']} of 31 stand" in stands


def test_a_line_says_how_far_and_is_gone_at_the_end(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stream = Terminal()
    meter = Meter([10, 30], None, stream)
    with meter.busy("pgd@8/255", 0):
        now[0] += 5
        nfm.attacks.progress.tell(0.5, "halfway")
    # 5 s for a half of 10 passes of 40: 35 s are left.
    last = "[1/2] pgd@8/255, halfway, 50%, about 35 s left"
    assert stream.getvalue().endswith(f"\r{last}\r{' ' * len(last)}\r")
    for wanted, stream in ((False, Terminal()), (None, io.StringIO())):
        with Meter([1], wanted, stream).busy("clean", 0):
            nfm.attacks.progress.tell(0.5)
        assert stream.getvalue() == ""


def test_adversaries_are_kept_and_found_again(network, dataset, tmp_path):
    classifier = inputs.pick(network, "fine")
    folder, rows = str(tmp_path), ["clean", "pgd@4/255"]
    store = f"{folder}/evaluation.json"
    given = {"store": store, "save_adversaries": f"{folder}/images"}
    nfm.evaluate(classifier, dataset, rows, store=store)
    scores = nfm.evaluate(classifier, dataset, rows, **given)
    path = f"{folder}/images/pgd@4_255.npy"
    images = np.load(path)
    near = np.abs(images - dataset[0] / np.float32(255)).max()
    assert images.dtype == np.float32 and 0 < near <= 4 / 255 + 1e-6
    logits = keras.ops.convert_to_numpy(classifier(images))
    right = logits.argmax(1) == dataset[1]
    assert np.array_equal(right, scores[1].right) and 0 < right.sum() < 25
    # Measured once with its images, it is not measured again; without them it is.
    assert nfm.evaluate(classifier, dataset, rows, **given)[1] == scores[1]
    nfm.records.write_json(path.replace(".npy", ".json"), {})
    again = nfm.evaluate(classifier, dataset, rows, **given)[1]
    assert again.seconds != scores[1].seconds and again.hits == scores[1].hits


def test_a_stand_in_gives_the_gradient_that_rounding_cuts_off(network, dataset):
    smooth = inputs.pick(network, "fine")

    def rounded(images):
        levels = keras.ops.floor(images * 64 + 0.5) / 64
        return smooth(levels)

    rows = ["clean", "pgd@4/255"]
    with pytest.raises(ValueError, match="needs a gradient"):
        nfm.evaluate(rounded, dataset, rows)
    clean, attacked = nfm.evaluate(rounded, dataset, rows, stand_in=smooth)
    expected = nfm.evaluate(smooth, dataset, rows)[1]
    assert attacked.correct < clean.correct and attacked.settings["stand_in"]
    assert abs(attacked.correct - expected.correct) <= 3
    adversary = nfm.attacks.PGD(4 / 255)(
        nfm.backend.classifier.PlainClassifier(rounded, stand_in=smooth), *dataset
    )
    logits = keras.ops.convert_to_numpy(rounded(adversary.images))
    assert np.array_equal(logits.argmax(1) == dataset[1], ~adversary.success)


class Black:
    """A perturbation of one's own, which has no level."""

    id = "black"

    def __call__(self, images, indices, **settings):
        return np.zeros(images.shape, "float32")


def test_a_perturbation_without_a_level_is_applied(network, dataset):
    classifier = inputs.pick(network, "fine")
    black = (np.zeros_like(dataset[0]), dataset[1])
    expected = nfm.evaluate(classifier, black, ["clean"])[0].correct
    assert nfm.evaluate(classifier, dataset, [Black()])[0].correct == expected


def test_images_of_two_settings_are_kept_side_by_side(network, dataset, tmp_path):
    classifier = inputs.pick(network, "fine")
    given = {"save_adversaries": tmp_path, "store": tmp_path / "evaluation.json"}
    attacks = [nfm.attacks.PGD(4 / 255, steps=steps) for steps in (1, 3)]
    seconds = [s.seconds for s in nfm.evaluate(classifier, dataset, attacks, **given)]
    files = {path.name: path.read_bytes() for path in tmp_path.glob("*.npy")}
    again = nfm.evaluate(classifier, dataset, attacks, **given)
    assert len(files) == 2 and [score.seconds for score in again] == seconds
    first = tmp_path / "pgd@4_255.npy"
    np.save(first, np.load(first) + 1)  # those of another process
    again = nfm.evaluate(classifier, dataset, attacks, **given)
    assert [s.seconds == old for s, old in zip(again, seconds)] == [False, True]
    assert first.read_bytes() == files[first.name]


def test_a_report_with_a_stand_in_is_another(network, dataset, tmp_path):
    smooth = inputs.pick(network, "fine")

    def rounded(images):
        return smooth(keras.ops.floor(images * 64 + 0.5) / 64)

    plan = nfm.Suite(["clean"], masking_limit=16)
    given = {"suite": plan, "store": tmp_path / "evaluation.json"}
    given["about"] = {"model": "rounded"}
    before = nfm.evaluate(rounded, dataset, **given).checks
    with pytest.warns(nfm.evaluation.StoreWarning, match="stand_in was None"):
        after = nfm.evaluate(rounded, dataset, stand_in=smooth, **given).checks
    signs = [{c["name"]: c["passed"] for c in checks} for checks in (before, after)]
    assert not signs[0]["gradient"] and signs[1]["gradient"]
