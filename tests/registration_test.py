"""Keras knows our classes whatever is imported first, each time in a new process."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import BACKEND

import nfm_keras
from nfm_keras import registration

PACKAGE = pathlib.Path(nfm_keras.__file__).parent
SLOW = ("keras", "numpy", "scipy", "matplotlib", "tensorflow", "jax", "torch")

pytestmark = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="does not depend on the backend"
)


def classes():
    """Module -> names of its classes and functions registered with Keras."""
    registered = {}
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and any(
                "register_keras_serializable" in ast.unparse(decorator)
                for decorator in node.decorator_list
            ):
                registered.setdefault(module, set()).add(node.name)
    return registered


def run(program):
    """What a fresh process prints, as JSON; on JAX, the quickest to import."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_module_with_a_serialisable_class_is_listed():
    assert sorted(registration.MODULES) == sorted(classes())


def test_the_package_alone_imports_nothing_slow():
    loaded = run("import nfm_keras, json, sys; print(json.dumps([*sys.modules]))")
    assert not {name.partition(".")[0] for name in loaded} & set(SLOW)
    ours = {name for name in loaded if name.startswith("nfm_keras")}
    assert ours == {"nfm_keras", "nfm_keras.lazy", "nfm_keras.registration"}


HEAVY = ("jax", "h5py", "optree", "rich", "scipy.stats", "PIL.Image", "sklearn.base")
HEAVY += ("matplotlib.pyplot", "pandas", "requests", "jax.experimental.sparse")
OURS_FIRST = "import nfm_keras, keras"
FIRST = (
    "import keras, nfm_keras",
    OURS_FIRST,
    "from nfm_keras.training import Config",
    "from nfm_keras.training.config import Config",
    "import nfm_keras.mixing.draw",
    "import nfm_keras.backend.random",
    "import nfm_keras; nfm_keras.data.load",
)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Import -> the names that Keras knows after it, and a model that it loads."""
    network = nfm_keras.networks.build("vit_lite", (8, 8, 1), 3, width=1 / 64, depth=1)
    technique = nfm_keras.mixing.techniques.Adversarial()
    path = tmp_path_factory.mktemp("model") / "m.keras"
    nfm_keras.NFMModel(network, technique=technique).save(path)
    # One process imports what is neither Keras nor ours, and copies itself for each.
    told = run(
        f"""
import contextlib, gc, importlib, json, os, sys
for heavy in {HEAVY}:
    with contextlib.suppress(ImportError):
        importlib.import_module(heavy)
gc.freeze()
assert not {{"keras", "nfm_keras"}} & {{*sys.modules}}
known = []
for first in {FIRST}:
    reader, writer = os.pipe()
    if not os.fork():
        exec(first)
        import keras
        found, loaded = [*keras.saving.get_custom_objects()], None
        if first == {OURS_FIRST!r}:
            model = keras.saving.load_model({str(path)!r})
            loaded = type(model).__name__, model.technique.attack_steps
        os.write(writer, json.dumps([found, loaded]).encode())
        os._exit(0)
    os.close(writer)
    known.append(json.loads(open(reader).read()))
print(json.dumps(known))
"""
    )
    return dict(zip(FIRST, told, strict=True))


def test_all_classes_are_registered_whatever_is_imported_first(known):
    expected = {f"nfm_keras>{name}" for names in classes().values() for name in names}
    for first, (names, _) in known.items():
        assert set(names) == expected, first


def test_a_model_loads_with_kerass_own_function(known):
    """Of layers and a technique that the program itself never names."""
    assert known[OURS_FIRST][1] == ["NFMModel", 7]


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no.keras. Expected a .keras file"):
        nfm_keras.load_model(tmp_path / "no.keras")
    (tmp_path / "cut.keras").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(
        ValueError, match="not a whole .keras file: truncated.* 16 bytes"
    ):
        nfm_keras.load_model(tmp_path / "cut.keras")
