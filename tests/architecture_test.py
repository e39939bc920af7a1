"""The package holds what docs/architecture.md says of it."""

import ast
import functools
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "nfm_keras"
PAGE = ROOT / "docs" / "architecture.md"
FRAMEWORKS = {"tensorflow", "jax", "torch"}
# Where private names of Keras may be: each has a test.
PRIVATE = ("backend.keras_private", "backend.keras_compiled")
# Public in spite of their underscore.
NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}


@functools.cache
def listed(heading):
    """The names in backquotes in a section of the page, a list for each line."""
    text = PAGE.read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if re.match(r"\d+\. |\* ", line)]
    return [re.findall(r"`([^`]+)`", line) for line in lines]


LAYERS = listed("Layers")
EXCEPTIONS = {names[0] for names in listed("Longer than they should be")}
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MODULES = [name for name in FILES if not name.endswith("__init__")]


@functools.cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imported(path):
    """The dotted names that a file imports, wherever in it that is."""
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def node_of(name):
    """The module or package of ours that a dotted name is, or is in; None for others.

    A name that a package takes from one of its modules counts as the package.
    """
    parts = name.split(".")
    if parts[0] != "nfm_keras":
        return None
    for length in range(len(parts), 1, -1):
        inner = ".".join(parts[1:length])
        if inner in FILES:
            return inner
        if f"{inner}.__init__" in FILES:
            return f"{inner}.__init__"
    # Of the top: what it offers comes from a package of that name, or from below.
    return None


def arrows(name):
    found = {node_of(one) for one in imported(FILES[name])} - {None, name}
    stub = FILES[name].with_suffix(".pyi")
    if stub.exists():
        package = "" if name == "__init__" else name.removesuffix("__init__")
        for node in tree(stub).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                found.add(node_of(f"nfm_keras.{package}{node.module}"))
    return found - {None, name}


def layer(name):
    """How high a module lies: the longest entry of the list that it is in."""
    fits = [
        (len(entry), height)
        for height, entries in enumerate(LAYERS)
        for entry in entries
        if f"{name}.".startswith(f"{entry}.")
    ]
    return max(fits)[1] if fits else None


def test_every_module_has_a_layer():
    assert [name for name in MODULES if layer(name) is None] == []
    entries = [entry for entries in LAYERS for entry in entries]
    known = {name.removesuffix(".__init__") for name in FILES}
    assert set(entries) <= known and len(entries) == len(set(entries))


@pytest.mark.parametrize("name", [n for n in FILES if n != "__init__"])
def test_imports_run_down(name):
    height = layer(name.removesuffix(".__init__"))
    above = [
        other
        for other in arrows(name)
        if layer(other.removesuffix(".__init__")) > height
    ]
    assert above == []


def test_there_is_no_circle():
    state = {}

    def visit(name, trail):
        if state.get(name) == "done":
            return
        assert name not in trail, f"a circle: {[*trail, name]}"
        for other in sorted(arrows(name)):
            visit(other, [*trail, name])
        state[name] = "done"

    for name in FILES:
        visit(name, [])


@pytest.mark.parametrize("name", MODULES)
def test_libraries_are_named_where_they_belong(name):
    roots = {one.partition(".")[0] for one in imported(FILES[name])}
    if "matplotlib" in roots:
        assert layer(name) >= layer("figures")
    frameworks = roots & FRAMEWORKS
    allowed = [names[0] for names in listed("TensorFlow's alone")]
    if frameworks and not name.startswith("backend."):
        assert frameworks == {"tensorflow"}
        assert any(f"{name}.".startswith(f"{entry}.") for entry in allowed)


@functools.cache
def own_private_names():
    """Every name with one underscore before it that the package defines itself."""
    names = set(NAMED_TUPLE)
    for path in FILES.values():
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return names


@pytest.mark.parametrize("name", [n for n in MODULES if n not in PRIVATE])
def test_private_names_of_others_are_in_two_files(name):
    own = own_private_names()
    used = {
        node.attr
        for node in ast.walk(tree(FILES[name]))
        if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr)
    }
    assert used - own == set()
    assert not any(one.startswith("keras.src") for one in imported(FILES[name]))


def test_few_files_at_the_top_and_in_a_package():
    folders = {path.parent for path in FILES.values()}
    for folder in folders:
        modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
        assert len(modules) <= (7 if folder == PACKAGE else 14), folder


@pytest.mark.parametrize("name", MODULES)
def test_files_and_functions_are_short(name):
    if name in EXCEPTIONS:
        return
    path = FILES[name]
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 40 or f"{name}.{node.name}" in EXCEPTIONS, node.name


def test_a_module_does_not_bear_the_name_of_what_its_package_offers():
    for stub in PACKAGE.rglob("*.pyi"):
        modules = {path.stem for path in stub.parent.glob("*.py")}
        for node in tree(stub).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                assert not modules & {alias.name for alias in node.names}, stub
