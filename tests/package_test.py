"""What is installed: one wheel, one name at its top, commands that run anywhere."""

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMMANDS = PROJECT["project"]["scripts"]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "nfm_keras", "apps")
HEAVY = {"keras", "tensorflow", "jax", "torch", "numpy", "scipy", "matplotlib"}
BUILD = "import sys; from setuptools import build_meta as b; {}(sys.argv[1])"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the wheel and the sdist, made from a copy of the sources."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    for function in ("b.build_wheel", "b.build_sdist"):
        command = [sys.executable, "-c", BUILD.format(function), str(folder)]
        subprocess.run(command, cwd=source, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def installed(built):
    """A folder with the installed wheel, beside one of a user with an apps/ of his."""
    (wheel,) = built.glob("*.whl")
    options = ["--no-deps", "--no-compile", "--quiet", "--target", built / "site"]
    command = [sys.executable, "-m", "pip", "install", *options, wheel]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    (built / "elsewhere" / "apps").mkdir(parents=True)
    trap = "raise SystemExit('another apps/ was imported')\n"
    (built / "elsewhere" / "apps" / "__init__.py").write_text(trap)
    return built


def elsewhere(installed, *command):
    environment = os.environ | {"PYTHONPATH": str(installed / "site")}
    return subprocess.run(
        list(map(str, command)),
        cwd=installed / "elsewhere",
        env=environment,
        capture_output=True,
        text=True,
    )


def test_the_list_of_packages_is_complete():
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "nfm_keras").rglob("__init__.py")
    }
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert listed == sorted(found | {"nfm_keras.apps"})


def test_every_app_has_a_command():
    apps = {
        path.stem
        for path in (ROOT / "apps").glob("*.py")
        if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    commands = {f"nfm-{name.replace('_', '-')}" for name in apps}
    assert commands == set(COMMANDS)


def test_the_wheel_has_one_name_at_its_top_and_all_that_is_read(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"nfm_keras"}
    for path in (ROOT / "nfm_keras").rglob("*"):
        if path.suffix in (".py", ".pyi", ".json", ".typed"):
            assert str(path.relative_to(ROOT)) in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_has_what_the_wheel_is_made_of(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "apps/train.py"} <= names
    assert "nfm_keras/mixing/draw.py" in names


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_outside_the_checkout(installed, command):
    script = installed / "site" / "bin" / command
    observed = [sys.executable, "-X", "importtime", script]
    shown = elsewhere(installed, *observed, "--help")
    assert "another apps/" not in shown.stderr + shown.stdout
    assert shown.returncode in (0, 1)  # absl's help exits with 1
    assert "flags:" in shown.stdout and "Traceback" not in shown.stderr
    typo = elsewhere(installed, *observed, "--sede=1")
    assert typo.returncode == 1 and "Unknown command line flag 'sede'" in typo.stderr
    for said in (shown.stderr, typo.stderr):
        names = {line.rpartition("|")[2].strip() for line in said.splitlines()}
        assert "absl.flags" in names and not names & HEAVY


def test_the_apps_that_a_command_starts_are_those_installed(installed):
    show = "import importlib.util as i; from nfm_keras.apps import start; "
    show += (
        "print(i.find_spec(start.module('train')).origin, start.typed('toy', ['-a']))"
    )
    told = elsewhere(installed, sys.executable, "-c", show).stdout
    place = installed / "site" / "nfm_keras" / "apps" / "train.py"
    assert told == f"{place} nfm-toy -a\n"


@pytest.mark.slow
def test_a_sweep_trains_and_scores_outside_the_checkout(installed):
    given = ["--experiment=table1", "--rows=erm", "--seeds=1", "--dataset=digits"]
    given += ["--network=mlp", "--epochs=1", "--limit=64", "--output=swept"]
    script = installed / "site" / "bin" / "nfm-sweep"
    done = elsewhere(installed, sys.executable, script, *given)
    assert done.returncode == 0 and "1 of 1 run(s) done" in done.stdout, done.stderr
    assert (installed / "elsewhere" / "swept/erm/seed_0/evaluation.json").exists()


USER = """
[tool.mypy]
ignore_missing_imports = true
[[tool.mypy.overrides]]
module = ["jax.*", "keras.*", "tensorflow.*", "torch.*"]
follow_imports = "skip"
"""
RIGHT = """
import numpy as np

import nfm_keras as nfm
from nfm_keras import serving, training

config = training.Config(scheme="nfm", epochs=2, sites=("site_0",))
record = training.train(config, "runs/nfm")
network = nfm.load_model("runs/nfm/classifier.keras")
model = nfm.NFMModel(network, nfm.Mixing(alpha=0.2), sites=["input"])
images, labels = np.zeros((4, 8, 8, 1)), [0, 1, 2, 3]
scores = nfm.evaluate(model.classifier, (images, labels), ["clean", "fog@3"])
best: float = max(score.value for score in scores)
version: str = serving.export(model.classifier, "models/mine", record=record).name
"""
WRONG = {
    'nfm.Mixing(alpha="1")': "arg-type",
    "nfm.Mixing().alpha + 'x'": "operator",
    "training.Config(epoch=2)": "call-arg",
    'nfm.evaluate(network, (images, labels), ["clean"], limit="9")': "arg-type",
    "nfm.evaluate(network, (images, labels), [1])": "list-item",
    "scores[0].accuracy": "attr-defined",
    'serving.export(network, 3, classes=["cat"])': "arg-type",
    "nfm.find_sites(network).items()": "attr-defined",
}


@pytest.mark.slow
def test_types_of_the_installed_package_are_those_of_its_names(installed, tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(RIGHT + "".join(f"{line}\n" for line in WRONG))
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "pyproject.toml").write_text(USER)
    shown = subprocess.run(
        [sys.executable, "-m", "mypy", "right.py", "wrong.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed / "site")},
        capture_output=True,
        text=True,
    )
    lines = [line for line in shown.stdout.splitlines() if ": error: " in line]
    first = len(RIGHT.splitlines()) + 1
    expected = [("wrong.py", number) for number, _ in enumerate(WRONG, first)]
    found = [tuple(line.split(":")[:2]) for line in lines]
    assert found == [(name, str(number)) for name, number in expected], shown.stdout
    for line, code in zip(lines, WRONG.values(), strict=True):
        assert line.endswith(f"[{code}]")


def test_the_installed_package_is_the_one_that_is_imported(installed):
    show = "import nfm_keras; print(nfm_keras.__file__)"
    place = elsewhere(installed, sys.executable, "-c", show).stdout
    assert place.startswith(str(installed / "site"))


def test_tests_that_take_long_are_where_they_are_said_to_be():
    for line in (ROOT / "tests" / "long_tests.txt").read_text("utf-8").splitlines():
        path, name = line.split("::")
        assert f"def {name}(" in (ROOT / path).read_text("utf-8"), line
