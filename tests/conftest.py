import atexit
import collections
import dataclasses
import os
import pathlib
import shutil
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# PyTorch's threads wait for one another by spinning: two processes of two threads on
# two cores take five times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Code that runs for milliseconds is compiled for the speed of the compiler, not of it:
# most of the time of the tests on JAX. What XLA fuses stays the same. `make slow` has
# XLA as users have it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false",
)
# What one test made JAX compile, no other compiles again, in whichever worker.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache = tempfile.mkdtemp()
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
# Processes that a test starts import this tree, and this file.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [*map(str, pathlib.Path(__file__).parents[1::-1])]
    + [path for path in [os.environ.get("PYTHONPATH")] if path]
)

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()


STARTS_PROCESSES = ("subprocess", "import programs", "import replicas")
LONG = pathlib.Path(__file__).with_name("long_tests.txt")
"""Names of tests that took longer than 0.3 s, one a line."""


def pytest_addoption(parser):
    text = f"Write {LONG.name} anew, of the tests that run."
    parser.addoption("--write-long", action="store_true", help=text)


def pytest_configure(config):
    if config.getoption("--write-long") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(LongTests())


def pytest_collection_modifyitems(items):
    """Marks what `make quick` leaves out: tests that start processes, or take long.

    Those of processes come first: a worker that is left with a long file at the end
    works alone.
    """
    texts = {item.path: item.path.read_text(encoding="utf-8") for item in items}
    long = set(LONG.read_text(encoding="utf-8").split("\n"))
    for item in items:
        if any(word in texts[item.path] for word in STARTS_PROCESSES):
            item.add_marker("process")
        if item.nodeid.partition("[")[0] in long:
            item.add_marker("long")
    items.sort(key=lambda item: item.get_closest_marker("process") is None)


class LongTests:
    """Writes the names of tests that took longer than 0.3 s."""

    def __init__(self):
        self.seconds = collections.Counter()

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self):
        names = {name.partition("[")[0] for name, s in self.seconds.items() if s > 0.3}
        LONG.write_text("\n".join([*sorted(names), ""]), encoding="utf-8")


@pytest.fixture(autouse=True)
def fresh_keras():
    """Every test starts from the same seed, float32 and no layer names in use."""
    # By default it collects garbage as well: a quarter of a second a test.
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)


# How a training step is compiled: TensorFlow's graph or XLA; JAX has XLA alone and
# PyTorch runs as it is, since torch.compile takes minutes. What JAX compiles by XLA
# anyway is compiled so on TensorFlow by `make slow`.
JITS = {"tensorflow": [False, True], "jax": [True], "torch": [False]}[BACKEND]
QUICK = JITS[0]
# Of `compile` where values alone are asked for: the graph of a step takes TensorFlow
# most of a second to build. `make slow` builds it here too.
BUILDS_GRAPHS = BACKEND != "tensorflow" or "NFM_BUILD_GRAPHS" in os.environ
FOR_VALUES = {"jit_compile": QUICK, "run_eagerly": not BUILDS_GRAPHS}
PARAMETERS = [
    pytest.param(jit, marks=[] if jit is QUICK else pytest.mark.slow) for jit in JITS
]


@pytest.fixture(params=PARAMETERS, ids=lambda jit: "xla" if jit else "plain")
def jit(request):
    return request.param


def slow_but(quick, values):
    """Parameters of a test; those not among `quick` (words) are of `make slow`."""
    quick = quick.split()
    return [
        pytest.param(value, id=value, marks=[] if value in quick else pytest.mark.slow)
        for value in values
    ]


def compiled(function, jit=False):
    """The function as a training step would run it."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=jit, reduce_retracing=True)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    return function


def scored(perturbation, right, **changes):
    """A `Score` of images that were classified correctly, or not."""
    from nfm_keras.records.score import Score, pack

    right = np.asarray(right, bool)
    n, correct = len(right), int(right.sum())
    score = Score(
        perturbation=perturbation,
        severity=1.0,
        protocol="none",
        value=100 * correct / n,
        low=0.0,
        high=100.0,
        n=n,
        correct=correct,
        seed=0,
        seconds=0.1,
        settings={},
        hits=pack(right),
    )
    return dataclasses.replace(score, **changes)


def score(name, value, protocol="reference", n=1000, **settings):
    """A `Score` with an interval that is easily recognised, in a report."""
    from nfm_keras.records import ids
    from nfm_keras.records.score import Score

    kind, severity = ids.split(name)
    return Score(
        perturbation=name,
        severity=severity or 0.0,
        protocol=protocol if kind in ids.NOISES else "none",
        value=value,
        low=value - 2,
        high=value + 1,
        n=n,
        correct=round(value * n / 100),
        seed=0,
        seconds=1.0,
        settings=settings,
    )


def run(scheme="nfm", seed=0, scores=(), dataset="cifar10", history=None, **config):
    """The `Record` of a run that took `seed + 1` hours."""
    from nfm_keras.records.run import Record

    return Record(
        name=f"{scheme}-{seed}",
        scheme=scheme,
        dataset=dataset,
        network="preact_resnet18",
        config={"scheme": scheme, "seed": seed, "epochs": 200, "width": 0.25} | config,
        sites=(),
        parameters=1,
        versions={},
        hardware={"cpu": "a CPU", "accelerators": []},
        command="",
        seconds=3600.0 * (seed + 1),
        started="",
        history={"loss": [2.0, 1.0]} if history is None else history,
        scores=tuple(scores),
    )


def runs(scheme, values, name="white_noise@0.1", **config):
    """One run a value, its clean accuracy 90 % for seed 0, 91 % for seed 1 ..."""
    return [
        run(scheme, seed, [score("clean", 90.0 + seed), score(name, value)], **config)
        for seed, value in enumerate(values)
    ]


def save_run(record, folder):
    """Writes a record, and its scores into the evaluation beside it."""
    from nfm_keras import records
    from nfm_keras.records import evaluation

    records.save(record, folder / records.FILE)
    if record.scores:
        scores = records.Evaluation(
            record.name, record.dataset, images="", probe=[], scores=record.scores
        )
        records.save_evaluation(scores, folder / evaluation.EVALUATION_FILE)


def check_latex(text):
    """Balanced, escaped, and as many cells in every line as the table has columns."""
    import itertools
    import re

    bare = re.sub(r"\\[\\&%$#_{}]", "", text.split("\n", 1)[1])
    depths = list(itertools.accumulate((c == "{") - (c == "}") for c in bare))
    assert min(depths) == depths[-1] == 0
    assert bare.count("$") % 2 == 0
    assert not set("%#~^") & set(bare)
    assert "_" not in bare
    opened = re.findall(r"\\begin{(\w+)}", bare)
    assert re.findall(r"\\end{(\w+)}", bare) == opened[::-1] == ["tabular", "table"]
    columns = len(re.search(r"\\begin{tabular}{([lr]*)}", bare)[1])
    table = bare.split(r"\toprule")[1].split(r"\bottomrule")[0].strip().split("\n")
    lines = [line for line in table if "rule" not in line]
    for line in lines:
        wide = sum(int(n) - 1 for n in re.findall(r"multicolumn{(\d+)}", line))
        assert line.count("&") + 1 + wide == columns
    return len(lines)


def overlapping(texts):
    """Pairs of texts that lie over each other, once the figure is drawn."""
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    return [pair for pair in pairs if pair[0].overlaps(pair[1])]
