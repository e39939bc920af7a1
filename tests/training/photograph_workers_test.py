"""Training on photographs in two processes, on 127.0.0.1."""

import json

import photograph_sets
import photograph_worker
import pytest
import replicas
from distribution_test import needs_jax, once

import nfm_keras as nfm
from nfm_keras import training

ENGINES = [
    pytest.param("tensorflow", "multi_worker"),
    pytest.param("jax", "data_parallel", marks=needs_jax),
]


@once
@pytest.mark.slow
@pytest.mark.parametrize("backend, name", ENGINES)
def test_each_process_reads_files_of_its_own(backend, name, tmp_path):
    folder = photograph_sets.write(tmp_path / "photos", classes=2, images=16)
    config = {
        "dataset": f"folder:{folder}",
        "image_size": 16,
        "network": "mlp",
        "width": 0.25,
        "epochs": 2,
        "batch_size": 8,
        "schedule": "constant",
        "learning_rate": 0.01,
        "distribution": name,
    }
    run, files = tmp_path / "run", [tmp_path / f"{index}.json" for index in (0, 1)]
    started = [
        replicas.start(
            [photograph_worker.__file__, run, json.dumps(config), file], backend, place
        )
        for place, file in zip(replicas.places(2), files, strict=True)
    ]
    try:
        told = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    codes = [process.returncode for process in started]
    assert codes == [0, 0], "\n".join(told)[-6000:]
    seen = [json.loads(file.read_text()) for file in files]
    for one in seen:
        # What was read is what was to be trained on, and nothing else.
        assert one["read"] == sorted({row for _, row in one["trained"]})
    for epoch in (0, 1):
        parts = [[row for e, row in one["trained"] if e == epoch] for one in seen]
        assert [len(part) for part in parts] == [16, 16]
        assert sorted(parts[0] + parts[1]) == list(range(32))
    # Of one step they know the same: both have the means over all images.
    assert seen[0]["history"] == seen[1]["history"]
    record = nfm.records.load(run / nfm.records.FILE)
    assert record.hardware["processes"] == 2 and record.history == seen[0]["history"]
    assert (run / training.CLASSIFIER).exists()
