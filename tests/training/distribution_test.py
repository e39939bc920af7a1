"""Training on two logical devices, in processes of their own."""

import importlib.util
import types

import numpy as np
import pytest
import replicas
from conftest import BACKEND

from nfm_keras.training import distribution
from nfm_keras.training.distribution.agreement import StopRequest

once = pytest.mark.skipif(BACKEND != "tensorflow", reason="starts its own processes")
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs JAX"
)


# A strategy that failed leaves its process unusable for the next one.
@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirrored")
    return replicas.launch(folder, "tensorflow", "none", "mirrored")[0]


@pytest.fixture(scope="module")
def data_parallel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data_parallel")
    return replicas.launch(folder, "jax", "none", "data_parallel")[0]


def assert_same(received, expected):
    """The same logs and weights, up to the order of sums."""
    assert received["history"].keys() == expected["history"].keys()
    for name, values in expected["history"].items():
        np.testing.assert_allclose(
            received["history"][name], values, rtol=1e-4, err_msg=name
        )
    for a, b in zip(received["weights"], expected["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def assert_replicas_agree(run):
    assert len(run["copies"]) > 4
    for copies in run["copies"]:
        assert len(copies) == replicas.DEVICES
        np.testing.assert_array_equal(copies[0], copies[1])


@once
def test_mirrored_without_mixing_is_one_device(mirrored):
    assert_same(mirrored["mirrored"]["plain"], mirrored["none"]["plain"])


@once
def test_mirrored_shares_site_and_lambda_only(mirrored):
    steps = {}
    for site, lam, partner, key in mirrored["mirrored"]["mixed"]["draws"]:
        assert len(partner) == replicas.BATCH // replicas.DEVICES
        steps.setdefault(lam, []).append((site, partner, key))
    assert len(steps) == 9 * replicas.EPOCHS
    for first, second in steps.values():
        assert first[0] == second[0]
        assert first[1] != second[1] and first[2] != second[2]
    assert {pair[0][0] for pair in steps.values()} == {0, 1}


@once
def test_mirrored_mixed_loss_is_close_to_that_of_one_device(mirrored):
    """Twice 64 is not once 128: partners come from half the batch, statistics are of
    half a batch, the noise is another. Seen are 1 to 2 %; a loss divided by the
    replicas would differ by half."""
    two, one = (mirrored[n]["mixed"]["history"] for n in ("mirrored", "none"))
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(two[name], one[name], rtol=0.06)
    assert two["loss"][-1] < 0.8 * two["loss"][0]


@once
def test_mirrored_replicas_agree_on_weights_and_statistics(mirrored):
    assert_replicas_agree(mirrored["mirrored"]["mixed"])


@once
@needs_jax
@pytest.mark.parametrize("case", replicas.MIXINGS)
@pytest.mark.slow
def test_data_parallel_is_one_device(data_parallel, case):
    assert_same(data_parallel["data_parallel"][case], data_parallel["none"][case])
    assert_replicas_agree(data_parallel["data_parallel"][case])


@once
@needs_jax
@pytest.mark.slow
def test_engines_describe_themselves(mirrored, data_parallel):
    for runs, name in ((mirrored, "mirrored"), (data_parallel, "data_parallel")):
        assert runs["none"]["engine"] == {"index": 0}
        expected = {"distribution": name, "replicas": 2, "processes": 1, "index": 0}
        assert runs[name]["engine"] == expected


def engine(replicas=1, processes=1, index=0):
    made = distribution.Engine()
    made.replicas, made.processes, made.index = replicas, processes, index
    return made


@pytest.mark.backends
def test_parts_make_up_the_batch():
    rows = np.arange(24)
    parts = [rows[engine(4, 2, index).part(24)] for index in range(2)]
    np.testing.assert_array_equal(np.concatenate(parts), rows)
    np.testing.assert_array_equal(rows[engine().part(24)], rows)
    with pytest.raises(ValueError, match="by the 4 of them. Received: 26"):
        engine(4, 2).part(26)


@pytest.mark.backends
@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("mirored", {}, "Unknown distribution. Did you mean 'mirrored'"),
        ("other", {}, "needs KERAS_BACKEND="),
        ("mirrored", {"steps_per_execution": 2}, "this steps_per_execution. Rec.*: 2"),
        ("mirrored", {"gradient_accumulation": 2}, "this gradient_accumulation"),
        ("mirrored", {"jit_compile": True}, "this jit_compile"),
        ("multi_worker", {"precision": "mixed_float16"}, "this precision"),
    ],
)
def test_refusals(name, settings, message):
    kinds = distribution.DISTRIBUTIONS
    own = [name for name, kind in kinds.items() if kind.backend == BACKEND]
    if name == "other":
        name = next(n for n in kinds if n not in own)
    elif name in kinds and name not in own:
        pytest.skip("another backend's")
    with pytest.raises(ValueError, match=message):
        distribution.check(name, **settings)
    distribution.check(None, **settings)


@pytest.mark.backends
def test_one_device_needs_nothing():
    alone = distribution.start(None)
    assert alone.is_chief and alone.describe() == {}
    alone.barrier()
    assert alone.any(True) and not alone.any(False)
    with pytest.raises(ValueError, match="Received: 'two'"):
        distribution.start("two")


@pytest.mark.backends
def test_processes_agree_to_stop():
    answers, asked = [False, True], StopRequest()
    several = types.SimpleNamespace(processes=2, any=lambda flag: answers.pop(0))
    agreement = distribution.Agreement(several, asked)
    agreement.on_epoch_begin(0)
    for batch in range(39):
        agreement.on_train_batch_begin(batch)
        assert not agreement.stop.is_set()
    agreement.on_train_batch_begin(40)
    assert agreement.stop.is_set() and not answers

    alone = distribution.Agreement(distribution.start(None), asked)
    alone.on_epoch_begin(0)
    alone.on_train_batch_begin(1)
    assert not alone.stop.is_set()
    asked.set()
    alone.on_train_batch_begin(2)
    assert alone.stop.is_set()
