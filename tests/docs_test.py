"""README and docs: what they show runs, in its order, and their links lead somewhere.

A block of Python or shell is run unless a comment before it says why not:

    <!-- not run: needs CIFAR-10 -->

`<!-- slow -->` leaves a block, and all that follow it on the page, to `make slow`. A
block of text right behind another one is what that prints: each of its lines is there,
in this order, with numbers of its own; percentages are close.
"""

import contextlib
import io
import os
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

import pytest
from conftest import BACKEND

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
LANGUAGES = ("python", "sh", "text", "")
BLOCK = re.compile(
    r"(?P<marks>(?:^<!--.*?-->\n+)*)^```(?P<language>\w*)\n(?P<code>.*?)^```$\n",
    re.MULTILINE | re.DOTALL,
)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?")
PERCENTAGE = re.compile(r"(\d+\.\d+) %")
COMMAND = re.compile(r"\bnfm-([a-z0-9-]+)(?= )")
POINTS = 6
"""By how much an accuracy on a few hundred images may differ on another machine."""


class Block(NamedTuple):
    """A block of a page; `output` is the text that follows it at once, or empty."""

    line: int
    language: str
    marks: str
    code: str
    output: str

    @property
    def runs(self):
        return self.language in ("python", "sh") and "not run: " not in self.marks

    @property
    def slow(self):
        return "<!-- slow -->" in self.marks


def blocks(text):
    """The blocks of a page, in order, and what each of them is said to print."""
    matches, made = list(BLOCK.finditer(text)), []
    for place, match in enumerate(matches):
        after = matches[place + 1 : place + 2]
        printed = [m["code"] for m in after if m.start() == match.end()]
        line = 1 + text.count("\n", 0, match.start("language"))
        output = printed[0] if printed and after[0]["language"] == "text" else ""
        groups = match["language"], match["marks"], match["code"]
        made.append(Block(line, *groups, output))
    return made


def quick(page):
    """What runs on a page before the first block that is slow."""
    running = [block for block in blocks(PAGES[page]) if block.runs]
    slow = [place for place, block in enumerate(running) if block.slow]
    return running[: slow[0]] if slow else running


def everything(page):
    return [block for block in blocks(PAGES[page]) if block.runs]


def run(page, running, folder):
    """Runs blocks as somebody would who types what the page shows."""
    names = {"__name__": "__main__"}
    for block in running:
        place = f"{page}:{block.line}"
        if block.language == "sh":
            printed = shell(block.code, folder)
        else:
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                exec(compile(block.code, place, "exec"), names)
            printed = stream.getvalue()
        compare(block.output, printed, place)


def shell(code, folder):
    """Runs commands; those of an installation are the apps of this checkout."""
    code = COMMAND.sub(lambda m: f"python -m apps.{m[1].replace('-', '_')} ", code)
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{code}\n{done.stderr[-3000:]}"
    return done.stdout


def compare(expected, printed, place):
    """Each line that is expected has to be among those printed, in order."""
    lines = iter(printed.splitlines())
    for line in expected.splitlines():
        if line.strip() == "...":
            continue
        twin = next((one for one in lines if words(one) == words(line)), None)
        assert twin is not None, f"{place} says that it prints {line!r}:\n{printed}"
        for ours, theirs in zip(PERCENTAGE.findall(line), PERCENTAGE.findall(twin)):
            assert abs(float(ours) - float(theirs)) <= POINTS, f"{place}: {twin!r}"


def words(line):
    return NUMBER.sub("#", line).split()


def links(text):
    """Targets of the links of a page that are files, without their anchors."""
    targets = re.findall(r"\]\(([^)\s#]+)", text)
    return [target for target in targets if "://" not in target]


def run_of(select):
    """Pages and blocks for `pytest.mark.parametrize`, those that have any."""
    chosen = {page: select(page) for page in PAGES}
    return [pytest.param(p, b, id=p) for p, b in chosen.items() if b]


pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="the default backend")


@pytest.mark.parametrize("page, running", run_of(quick))
def test_blocks_run_in_their_order(page, running, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page, running, tmp_path)


SLOW = [case for case in run_of(everything) if any(b.slow for b in case.values[1])]


@pytest.mark.slow
@pytest.mark.parametrize("page, running", SLOW)
def test_slow_blocks_run_in_their_order(page, running, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page, running, tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_blocks_say_what_they_are(page):
    fences = re.findall(r"^\s*```(.*)$", PAGES[page], re.MULTILINE)
    assert all(language in LANGUAGES for language in fences[::2]), fences
    assert len(fences) == 2 * len(blocks(PAGES[page])), "a fence is not closed"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    folder = (ROOT / page).parent
    missing = [link for link in links(PAGES[page]) if not (folder / link).is_file()]
    assert not missing


def test_the_readme_is_a_front_door():
    lines = PAGES["README.md"].splitlines()
    assert len(lines) <= 150
    assert lines.index("make demo") < 20


def test_a_comparison_notices_other_words_and_far_numbers():
    compare("a 10.0 % of 3\n...\nb", "first\na 12.5 %  of 4\nb\n", "here")
    with pytest.raises(AssertionError):
        compare("a 10.0 %", "a 20.0 %", "here")
    with pytest.raises(AssertionError):
        compare("a\nb", "b\na", "here")
