"""Full scale, rehearsed on digits: in processes of their own, on JAX alone."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import BACKEND

pytestmark = [
    pytest.mark.skipif(BACKEND != "tensorflow", reason="slow processes, once"),
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX"),
]

REPOSITORY = pathlib.Path(__file__).parents[2]
JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": ".:tests"}
ABSENT = ("tensorflow", "tensorflow_datasets")
SCALE = {"epochs": 2, "limit": 256, "batch_size": 128, "precision": "float32"}


def rehearse(name, folder):
    """Runs a function of this file on JAX, with no TensorFlow to import."""
    done = subprocess.run(
        [sys.executable, __file__, name, str(folder)],
        cwd=REPOSITORY,
        env=os.environ | JAX,
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]


@pytest.mark.slow
def test_an_epoch_is_the_models_own_steps_on_crops_drawn_from_seed_epoch_and_step(
    tmp_path,
):
    rehearse("an_epoch", tmp_path)


@pytest.mark.slow
def test_slices_and_a_kill_leave_the_weights_of_a_run_in_one_piece(tmp_path):
    rehearse("slices_and_a_kill", tmp_path)


@pytest.mark.slow
def test_slices_and_a_kill_leave_the_weights_of_a_preact_resnet(tmp_path):
    rehearse("slices_and_a_kill_of_a_preact_resnet", tmp_path)


@pytest.mark.slow
def test_every_scheme_trains_in_one_dispatch_an_epoch(tmp_path):
    rehearse("every_scheme", tmp_path)


def table(*rows, network="mlp"):
    from nfm_keras.experiments.experiment import Experiment

    settings = {"dataset": "digits", "network": network}
    rows = {row: {"label": row, "scheme": row} for row in rows}
    return Experiment("Rehearsal", settings, rows, seeds=(0, 3))


def packed(folder):
    """The images, packed and carried part by part into an empty folder."""
    from nfm_keras.experiments import packing

    carried = folder / "carried"
    shutil.rmtree(carried, ignore_errors=True)
    carried.mkdir()
    for part in packing.pack(folder / "packed", "digits", megabytes=0.01):
        shutil.copy(part, carried)
    return packing.unpack(carried, "digits")


def weights(path):
    with np.load(path) as file:
        return [file[name] for name in sorted(file)]


def small_model(steps, **settings):
    import keras

    from nfm_keras import training

    keras.utils.set_random_seed(0)
    config, network = training.resolve(training.Config(network="mlp", **settings))
    model = training.compile_model(config, network, steps)
    return model, config


def an_epoch(folder):
    import jax
    import keras

    from nfm_keras.backend import random
    from nfm_keras.experiments import resident

    splits = packed(folder)
    check_crops(random, splits.train)

    # 300 images: two steps of 128 and one of 44, with a seed that is not 0.
    splits = resident.limited(splits, 300)
    settings = {"batch_size": 128, "seed": 3, "scheme": "nfm", "epochs": 4}
    ours, config = small_model(3, **settings)
    theirs, _ = small_model(3, **settings)
    run = resident.compile_epoch(ours, splits.train, config)
    logs = [run(epoch) for epoch in range(2)]
    step = jax.jit(theirs.train_step)
    images = np.pad(splits.train.images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for epoch in range(2):
        theirs.reset_metrics()
        key = random.fold(random.fold(random.key(3), resident.STREAM), epoch)
        order = np.asarray(random.permutation(random.fold(key, 0), 300))
        assert sorted(order) == list(range(300))
        for place in range(3):
            index = order[128 * place : 128 * (place + 1)]
            own = random.fold(random.fold(key, 1), place)
            batch = resident.augmented(own, images, index, (8, 8, 1), 1, False)
            labels = splits.train.labels[index].astype("int32")
            last, state = step(resident.state_of(theirs), (batch, labels))
            for variables, values in zip(resident.variables_of(theirs), state):
                for variable, value in zip(variables, values):
                    variable.assign(value)
        for name, value in last.items():
            np.testing.assert_allclose(logs[epoch][name], value, rtol=1e-4)
    assert int(ours.step) == int(theirs.step) == 6
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    check_float16(ours, splits.test.images, folder)
    assert keras.backend.backend() == "jax"


def check_crops(random, split):
    """Every image is a crop of its own, some mirrored; all places are drawn."""
    from nfm_keras.experiments import resident

    pad = 2
    padded = np.pad(split.images[:256], ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    index = np.arange(256)[::-1]
    batch = [
        np.asarray(resident.augmented(random.key(s), padded, index, (8, 8, 1), 2, 1))
        for s in (0, 0, 1)
    ]
    np.testing.assert_array_equal(batch[0], batch[1])
    assert (batch[0] != batch[2]).any(axis=(1, 2, 3)).mean() > 0.9
    drawn = set()
    for image, at in zip(batch[0], index):
        places = {
            (dy, dx, flip)
            for dy in range(5)
            for dx in range(5)
            for flip in (1, -1)
            if (image == padded[at, dy : dy + 8, dx : dx + 8][:, ::flip]).all()
        }
        assert places
        drawn |= places
    assert len(drawn) == 50


def check_float16(model, images, folder):
    from nfm_keras.data.images import as_images
    from nfm_keras.serving import half_weights

    images = as_images(images)
    expected = np.asarray(model.classifier(images))
    half_weights.save_weights(model.model, folder / "half.npz")
    kinds = {a.dtype.name for a in weights(folder / "half.npz") if a.ndim > 1}
    assert kinds == {"float16"}
    fresh = model.classifier
    fresh.set_weights([np.zeros_like(w) for w in fresh.get_weights()])
    half_weights.load_weights(fresh, folder / "half.npz")
    received = np.asarray(fresh(images))
    assert 0 < np.abs(received - expected).max() < 0.01 * np.abs(expected).max()


def slices_and_a_kill_of_a_preact_resnet(folder):
    slices_and_a_kill(folder, ("nfm", "cutmix"), "preact_resnet18", width=0.0625)


def slices_and_a_kill(folder, schemes=("nfm",), network="mlp", width=1.0):
    from nfm_keras import records
    from nfm_keras.backend.jax_devices import keep_programs
    from nfm_keras.experiments import full_scale
    from nfm_keras.training.folder import locked

    splits = packed(folder)
    experiment = table(*schemes, network=network)
    keep_programs(folder / ".cache")
    chosen = {"seeds": [3], "width": width} | SCALE
    whole = full_scale.plan(experiment, folder / "whole", **chosen)
    assert full_scale.carry_out(whole, splits, minutes=60)
    parts = full_scale.plan(experiment, folder / "parts", **chosen)
    with locked(parts[0].folder), pytest.raises(BlockingIOError, match="is in use"):
        full_scale.carry_out(parts, splits, minutes=60)
    kill_at_first_epoch_end(full_scale, parts, splits)
    calls = 0
    while not full_scale.carry_out(parts, splits, minutes=0):
        calls += 1
        assert calls < 20
    assert (
        calls == len(schemes) * (SCALE["epochs"] + 1) - 1
    )  # an epoch or a scoring a call
    for one, other in zip(whole, parts, strict=True):
        same_result(one, other)
    check_other_config(full_scale, experiment, folder, **chosen)
    check_programs(full_scale, experiment, folder, splits, **chosen)
    kept = records.find(folder / "parts")
    assert [record.scheme for record in kept] == sorted(schemes)
    assert not sys.modules.keys() & set(ABSENT)


def kill_at_first_epoch_end(full_scale, todo, splits):
    """Ends a call as a kill would: an epoch is trained and nothing is written."""
    kept = full_scale._Checkpoint.on_epoch_end

    def die(*args):
        raise KeyboardInterrupt

    full_scale._Checkpoint.on_epoch_end = die
    try:
        full_scale.carry_out(todo, splits, minutes=60)
    except KeyboardInterrupt:
        assert not list(todo[0].folder.glob("checkpoints/*"))
    else:
        raise AssertionError("was not killed")
    finally:
        full_scale._Checkpoint.on_epoch_end = kept


def same_result(one, other):
    from nfm_keras import records
    from nfm_keras.data.images import as_images
    from nfm_keras.evaluation.plan import Suite, conditions
    from nfm_keras.experiments import full_scale
    from nfm_keras.records import evaluation as evaluations
    from nfm_keras.serving import half_weights

    arrays = [weights(run.folder / half_weights.FILE) for run in (one, other)]
    for a, b in zip(*arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    first, second = one.record, other.record
    assert first.history == second.history or str(first.history) == str(second.history)
    assert len(first.history["loss"]) == SCALE["epochs"]
    assert [s.correct for s in first.scores] == [s.correct for s in second.scores]
    planned = conditions(Suite(full_scale.PERTURBATIONS))
    expected = [condition.id for condition in planned]
    assert [score.perturbation for score in first.scores] == expected
    assert {s.protocol for s in first.scores} == {"reference", "none"}
    assert f"--rows={one.row} --seeds=3 --epochs=2" in first.command
    stored = evaluations.load_evaluation(one.folder / evaluations.EVALUATION_FILE)
    test = packed(one.folder.parents[2]).test
    images, labels = test.images[:256], test.labels[:256]
    classifier = half_weights.load_classifier(other.folder)
    logits = np.asarray(classifier(as_images(images)))
    right = int((logits.argmax(1) == labels).sum())
    assert right == first.scores[0].correct == int(stored.scores[0].right.sum())
    assert not (one.folder / "checkpoints").exists()
    assert (one.folder / records.FILE).exists()


def check_other_config(full_scale, experiment, folder, **chosen):
    todo = full_scale.plan(experiment, folder / "whole", **chosen | {"epochs": 9})
    with pytest.raises(ValueError, match="another config.*Received.*epochs"):
        full_scale.carry_out(todo, None, minutes=60)


def check_programs(full_scale, experiment, folder, splits, **chosen):
    """Another seed finds the program of its row compiled."""
    chosen |= {"seeds": [0]}
    todo = full_scale.plan(experiment, folder / "other_seed", **chosen)
    assert not full_scale.carry_out(todo, splits, minutes=0)
    programs = list((folder / ".cache").glob("jit_epoch-*-cache"))
    assert len(programs) == len(experiment.rows), programs


def every_scheme(folder):
    """Among them what calls the host (PuzzleMix) and what attacks, within the scan."""
    from nfm_keras.experiments import full_scale

    names = "erm", "label_smoothing", "puzzlemix", "adversarial", "noisymix"
    experiment = table(*names, network="small_resnet")
    experiment.rows["puzzlemix"]["grids"] = (2, 4)
    scale = {"width": 0.25, **SCALE, "epochs": 1, "precision": "mixed_bfloat16"}
    todo = full_scale.plan(experiment, folder / "runs", seeds=[0], **scale)
    assert full_scale.carry_out(todo, packed(folder), minutes=60)
    for run in todo:
        assert np.isfinite(run.record.history["loss"]).all(), run.name


class Without:
    """A finder that does not find TensorFlow. To raise would be too much: JAX's
    compilation cache looks whether it is there."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            return None
        return self.finder.find_spec(name, path, target)


if __name__ == "__main__":
    sys.meta_path[:] = map(Without, sys.meta_path)
    globals()[sys.argv[1]](pathlib.Path(sys.argv[2]))
