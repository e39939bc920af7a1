"""The examples, each in a process of its own: what they print, and what they claim."""

import ast
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest
from conftest import BACKEND

pytestmark = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="each example chooses its backend"
)
ROOT = pathlib.Path(__file__).parents[2]

# Name -> flags of a short run, and the clean score that any of its rows must reach:
# well above chance, which is 20, 17 (all ground), 3, 10, 10, 63 and 20.
SHORT = {
    "applications_finetune": (["--epochs=4"], 40),
    "jax_pydataset": (["--epochs=10"], 75),
    "own_photographs": (["--epochs=4"], 12),
    "own_train_step": (["--epochs=10"], 75),
    "segmentation_unet": (["--epochs=8", "--scenes=500"], 50),
    "tabular_mlp": (["--seeds=2", "--epochs=10"], 85),
    "text_classifier": (["--epochs=6", "--texts=300"], 40),
}
# Row, other row, column: the first must be ahead of the second in a full run.
CLAIMS = {
    "applications_finetune": [("nfm", "erm", 1), ("nfm", "erm", 2)],
    "segmentation_unet": [("nfm", "erm", 1), ("nfm", "erm", 2)],
    "tabular_mlp": [("strong", "erm", 3), ("strong", "nfm", 3)],
}


def run(name, *flags):
    backend = {} if name == "jax_pydataset" else {"KERAS_BACKEND": "tensorflow"}
    inherited = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py", *flags],
        env=inherited | backend | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def table(text):
    """Lines of a name and numbers."""
    lines = re.findall(r"^ *(\S+)((?: +[-+]?\d+\.\d+)+)$", text, re.MULTILINE)
    return {name: [float(n) for n in numbers.split()] for name, numbers in lines}


def leaks(text):
    lines = re.findall(r"^ *leak (\S+)(.*)$", text, re.MULTILINE)
    return {name: [float(n) for n in rest.split()[1::2]] for name, rest in lines}


def skip_without(name):
    if name == "jax_pydataset" and importlib.util.find_spec("jax") is None:
        pytest.skip("needs JAX")


def test_every_example_is_tested():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == SHORT.keys()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) for name in SHORT],
)
def test_a_short_run_learns(name):
    skip_without(name)
    flags, least = SHORT[name]
    printed = run(name, *flags)
    rows = table(printed)
    for row in ("erm", "nfm"):
        assert rows[row][0] > least, printed
    assert printed.splitlines()[-1].split()[0] in ("nfm", "strong-erm")
    if name == "segmentation_unet":
        found = leaks(printed)
        assert max(found["nfm"]) < 1e-5 < 0.01 < min(found["leaky"][2:])


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_a_full_run_prints_what_its_docstring_says(name):
    skip_without(name)
    source = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    written, found = table(ast.get_docstring(ast.parse(source))), table(run(name))
    assert written.keys() == found.keys()
    for row in ("erm", "nfm"):  # another processor rounds otherwise, and trains so
        assert found[row] == pytest.approx(written[row], abs=8), row
    for ahead, behind, column in CLAIMS.get(name, []):
        assert found[ahead][column] > found[behind][column] + 1
