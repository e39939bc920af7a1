"""The page of the printed statements: each that fails beside the one that holds."""

import pathlib

from nfm_keras import records
from nfm_keras.figures import theory as figures
from nfm_keras.records.environment import environment
from nfm_keras.reports.comparisons import blocks
from nfm_keras.theory.study import statements, toy

FILE, FORMAT = "statements.json", 1

_NOTES = {
    "expansion": (
        "Theorem 1",
        "Error of the expansion to second order against the exact loss. One that is "
        "right has slope 3; a wrong term of first order leaves slope 1.",
    ),
    "perturbation": (
        "Lemma 1",
        "The perturbation of a feature that NFM amounts to, given partner and lambda. "
        "Its mean is not 0.",
    ),
    "adversarial": (
        "Theorem 2",
        "By how much NFM's loss is above the adversarial loss and the regulariser. "
        "Below 0 the statement fails: features that bend at the input break it.",
    ),
    "margin": (
        "Proposition 1",
        "Lower bounds of the margin of a linear network of two logits. The printed one "
        "is twice the margin.",
    ),
    "total_variation": (
        "Theorem 5",
        "How far a perturbation moves the law of a noisy feature. The printed bound is "
        "0 without multiplicative noise.",
    ),
    "boundaries": (
        "Proposition 1 in the plane",
        "Decision boundaries after training with each scheme on 300 points, of which "
        "50 are drawn, each right one with the largest circle that reaches no "
        "boundary: its margin. Accuracy is on other points. One seed.",
    ),
}


def measure(seed=0, command=""):
    """Returns the record of the statements and of the toy.

    Args:
        seed: int.
        command: str. What to type to repeat it.

    Raises:
        RuntimeError: On another backend than TensorFlow.
    """
    versions, hardware = environment()
    return {
        "format": FORMAT,
        "command": command,
        "versions": versions,
        "hardware": hardware,
        **statements.statements(seed),
        "boundaries": toy.boundaries(seed),
    }


def write(record, output):
    """Writes statements.json, statements.md, statements.html and a figure of each.

    Args:
        record: What `measure` returned.
        output: Folder to write to.

    Returns:
        Path of statements.md.
    """
    folder = pathlib.Path(output)
    records.write_json(folder / FILE, record)
    page: list = []
    for name, (heading, note) in _NOTES.items():
        given = (toy.EXTENT,) if name == "boundaries" else ()
        getattr(figures, name)(record[name], folder / f"{name}.png", *given)
        picture = blocks.Picture(f"{name}.png", heading)
        page += [blocks.Heading(heading), picture, blocks.Paragraph(note, "note")]
    title = "Theory: what is printed and what holds"
    return blocks.write(folder / "statements.md", title, page)
