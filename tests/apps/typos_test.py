"""A typo is told before anything heavy is imported."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
# Importing one of them ends the program with its name.
HEAVY = ("keras", "tensorflow", "jax", "torch")


@pytest.fixture(scope="module")
def without_frameworks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frameworks")
    for name in HEAVY:
        (folder / f"{name}.py").write_text(f"raise SystemExit('imported {name}')")
    return f"{folder}:{ROOT}"


@pytest.mark.parametrize(
    "command, said",
    [
        ("train --scheme=nfmm", "Did you mean 'nfm'"),
        ("train --weights=file.keras --scheme=nfmm", "Did you mean 'nfm'"),
        ("train --network=preact_resnet81", "Did you mean 'preact_resnet18'"),
        ("train --network=keras_cv/resnet18v2", "Did you mean 'keras_cv/resnet18_v2'"),
        ("train --dataset=cifar11", "Did you mean 'cifar10'"),
        ("train --optimizer=sdg", "Did you mean 'sgd'"),
        ("train --distribution=mirored", "Did you mean 'mirrored'"),
        ("train --noise_schedule=fal", "Did you mean 'fall'"),
        ("evaluate --run_dir=gone", "No classifier at gone"),
        ("evaluate --run_dir=. --perturbations=fogg@3", "Did you mean 'fog'"),
        ("evaluate --run_dir=. --perturbations=fog@6", "from 1 to 5"),
        ("evaluate --run_dir=.,. --transfer=pgdd@8/255", "Did you mean 'pgd'"),
        ("demo --schemes=erm,nfmm", "Did you mean 'nfm'"),
        ("demo --schemes=nfm,nfm", "must be different schemes, at least one. Rec"),
        ("demo --schemes=", "must be different schemes, at least one. Received: []"),
        ("sweep --experiment=table1 --rows=nfmm --output=x", "Did you mean 'nfm'"),
        ("export --run_dir=gone --name=x", "gone/record.json must be there"),
        ("visualize --run_dir=gone", "No classifier at gone"),
        ("theory --run_dir=gone", "No classifier at gone"),
    ],
)
def test_it_is_told_without_a_framework(command, said, without_frameworks, tmp_path):
    app, *flags = command.split()
    if app == "train":
        flags.append("--run_dir=x")
    done = subprocess.run(
        [sys.executable, "-m", f"apps.{app}", *flags],
        env={"PYTHONPATH": without_frameworks},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert said in done.stderr and done.stderr.count("\n") == 1, done.stderr
