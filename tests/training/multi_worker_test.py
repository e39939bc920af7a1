"""Training in two processes, on 127.0.0.1."""

import json
import signal
import time

import numpy as np
import pytest
import replicas
from distribution_test import assert_same, needs_jax, once

from nfm_keras import records
from nfm_keras.training.distribution import multi_worker

SMALL = {
    "dataset": "digits",
    "network": "small_resnet",
    "width": 0.25,
    "limit": 1152,
    "epochs": 3,
    "sigma_add": 0.1,
    "seed": 3,
}
ENGINES = [
    pytest.param("tensorflow", "multi_worker"),
    pytest.param("jax", "data_parallel", marks=needs_jax),
]


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    return replicas.launch(folder, "tensorflow", "multi_worker", processes=2)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirrored")
    return replicas.launch(folder, "tensorflow", "mirrored")[0]["mirrored"]


@once
@pytest.mark.parametrize("case", replicas.MIXINGS)
@pytest.mark.slow
def test_workers_compute_what_mirrored_replicas_do(workers, mirrored, case):
    for worker in workers:
        assert_same(worker["multi_worker"][case], mirrored[case])


@once
@pytest.mark.slow
def test_workers_share_site_and_lambda_only(workers):
    first, second = (worker["multi_worker"]["mixed"]["draws"] for worker in workers)
    assert len(first) == len(second) == 9 * replicas.EPOCHS
    for (site, lam, *own), (site_2, lam_2, *own_2) in zip(first, second):
        assert (site, lam) == (site_2, lam_2)
        assert own[0] != own_2[0] and own[1] != own_2[1]


@once
@pytest.mark.parametrize("backend, name", ENGINES)
@pytest.mark.slow
def test_workers_end_with_equal_weights_and_logs(request, backend, name, tmp_path):
    if name == "multi_worker":
        first, second = request.getfixturevalue("workers")
    else:
        first, second = replicas.launch(tmp_path, backend, name, processes=2)
        alone = replicas.launch(tmp_path, backend, "none")[0]["none"]
        for case in replicas.MIXINGS:
            assert_same(first[name][case], alone[case])
    assert [run[name]["engine"]["index"] for run in (first, second)] == [0, 1]
    assert first[name]["engine"]["processes"] == 2
    for case in replicas.MIXINGS:
        assert first[name][case]["history"] == second[name][case]["history"]
        weights = first[name][case]["weights"], second[name][case]["weights"]
        for a, b in zip(*weights, strict=True):
            np.testing.assert_array_equal(a, b)


class Run:
    """A run of two processes in one folder."""

    def __init__(self, folder, backend, name):
        self.folder, self.backend = folder, backend
        self.config = json.dumps(SMALL | {"distribution": name})

    def start(self, *resume):
        command = [replicas.__file__, "--run", self.folder, self.config, *resume]
        places = replicas.places(2)
        self.processes = [
            replicas.start(command, self.backend, place) for place in places
        ]

    def wait_for_checkpoint(self):
        deadline = time.monotonic() + 200
        while not list((self.folder / "checkpoints").glob("0000-*")):
            assert time.monotonic() < deadline
            assert all(process.poll() is None for process in self.processes)
            time.sleep(0.02)

    def end(self, timeout=150):
        told = [process.communicate(timeout=timeout)[0] for process in self.processes]
        return [process.returncode for process in self.processes], told

    def finish(self, *resume):
        self.start(*resume)
        codes, told = self.end()
        assert codes == [0, 0], told[0][-3000:] + told[1][-3000:]
        return records.load(self.folder / "record.json")


@once
@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("backend, name", ENGINES)
def test_a_killed_worker_ends_the_others_and_the_run_goes_on(
    backend, name, victim, tmp_path
):
    whole = Run(tmp_path / "whole", backend, name).finish()
    run = Run(tmp_path / "killed", backend, name)
    run.start()
    run.wait_for_checkpoint()
    run.processes[victim].kill()
    codes, told = run.end()
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] not in (0, None)
    # Ours, or that of JAX's own watch, which may end the process before.
    said = "Another process of this run is lost", "another task died"
    assert any(text in told[1 - victim] for text in said), told[1 - victim][-3000:]
    record = run.finish("resume")
    assert {len(values) for values in record.history.values()} == {SMALL["epochs"]}
    for metric, values in whole.history.items():
        np.testing.assert_allclose(record.history[metric], values, rtol=1e-4)
    assert record.hardware["replicas"] == record.hardware["processes"] == 2


@once
@pytest.mark.slow
@pytest.mark.parametrize("backend, name", ENGINES)
def test_sigterm_to_one_worker_saves_and_ends_all(backend, name, tmp_path):
    run = Run(tmp_path / "run", backend, name)
    run.start()
    run.wait_for_checkpoint()
    run.processes[1].send_signal(signal.SIGTERM)
    codes, told = run.end()
    assert codes == [143, 143], told
    assert not (run.folder / ".lock").exists()
    run.finish("resume")


@pytest.mark.backends
@pytest.mark.parametrize(
    "text",
    [
        None,
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, '
        '"task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_process_without_a_place_is_refused(text):
    with pytest.raises(ValueError, match="needs TF_CONFIG.* Received: "):
        multi_worker.place(text)


@pytest.mark.backends
def test_the_chief_comes_first():
    cluster = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    for index, task in enumerate([("chief", 0), ("worker", 0), ("worker", 1)]):
        place = {"type": task[0], "index": task[1]}
        text = json.dumps({"cluster": cluster, "task": place})
        assert multi_worker.place(text) == (index, 3)
