"""Table: a view of values, as Markdown, CSV or LaTeX."""

import csv
import dataclasses
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

_ALIGNED = {"l": "---", "r": "---:"}
_MARKDOWN = {"": "{}", "aside": "*{}*", "code": "`{}`"}
_LATEX = {
    "": "{}",
    "aside": r"\quad\emph{{{}}}",
    "code": r"\texttt{{{}}}",
}

# What Markdown takes for more than a letter. An underscore is one at the end of a word,
# a bracket where a link could come of it: "[0.97, 1.06]" is none.
_MARKS = re.compile(r"[\\*`]|<(?=[a-zA-Z/!?])|\](?=[(\[:])|\b_+|_+\b")
_MARKS_OF_LINKS = re.compile(rf"{_MARKS.pattern}|[\[\]]")

# What LaTeX reads as a command, and letters that a font of its own may lack.
_LETTERS = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "\n": " ",
        "—": "---",
        "±": r"$\pm$",
        "×": r"$\times$",
        "∞": r"$\infty$",
        "α": r"$\alpha$",
        "γ": r"$\gamma$",
        "ε": r"$\epsilon$",
        "λ": r"$\lambda$",
        "σ": r"$\sigma$",
    }
)


class Text(NamedTuple):
    """Text of a cell that is linked or set in a style.

    Attributes:
        text: str.
        link: str. A URL; CSV and LaTeX leave it out.
        style: str. `""`; `"code"`; or `"aside"` for what belongs to the row above: in
            italics and, where the format can, indented. CSV leaves it out. Markdown
            sees no marks of its own in a text, but in code.
    """

    text: str
    link: str = ""
    style: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A header and rows of cells.

    Args:
        header: sequence of str, the names of the columns.
        rows: sequence of rows, each with a cell for every column: text, a `Text`, a
            list of `Text`, a number, which is shown with all its digits, or None for
            an empty cell.
        align: str. A letter a column, `"l"` or `"r"`; the last one holds for the
            columns that follow, so that `"lr"` sets all but the first to the right.
        groups: sequence of `(text, count)`: what stands over the header, and over how
            many columns. Formats without a second line put it before each name.

    Raises:
        ValueError: If a row or `groups` does not have the columns of the header, or
            `align` has another letter.

    Example:

    >>> table = Table(["scheme", "clean"], [["erm", 90.5], ["nfm", None]], "lr")
    >>> print(table.to_markdown(), end="")
    | scheme | clean |
    |---|---:|
    | erm | 90.5 |
    | nfm |  |
    """

    header: Sequence[str]
    rows: Sequence[Sequence]
    align: str = "l"
    groups: Sequence[tuple[str, int]] = ()

    def __post_init__(self):
        self._set(header=tuple(self.header), rows=tuple(map(tuple, self.rows)))
        width = len(self.header)
        for row in self.rows:
            if len(row) != width:
                raise ValueError(
                    f"A row must have a cell for each of the columns {self.header}. "
                    f"Received: {len(row)} cells, {row!r:.80}"
                )
        if not self.align or not set(self.align) <= _ALIGNED.keys():
            raise ValueError(
                f"`align` must be letters of 'l' and 'r'. Received: {self.align!r}"
            )
        if self.groups and sum(count for _, count in self.groups) != width:
            raise ValueError(
                f"`groups` must cover the {width} columns. Received: {self.groups!r}"
            )
        self._set(align=self.align.ljust(width, self.align[-1])[:width])

    def _set(self, **fields):
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_dicts(cls, values, align="l"):
        """Returns the table of some dicts, a row each.

        Args:
            values: iterable of dicts. The columns are all their keys, in order; what a
                dict does not have is an empty cell.
            align: str, as in `Table`.

        Example:

        >>> Table.from_dicts([{"a": 1}, {"b": 2}]).rows
        ((1, None), (None, 2))
        """
        values = list(values)
        names = dict.fromkeys(name for value in values for name in value)
        return cls(
            names, ([value.get(name) for name in names] for value in values), align
        )

    def to_markdown(self):
        """Returns the table in the Markdown of GitHub, ending in a newline."""
        marks = [_ALIGNED[letter] for letter in self.align]
        lines = [self._names(), *self.rows]
        lines = [f"| {' | '.join(map(_to_markdown, line))} |" for line in lines]
        return "\n".join([lines[0], f"|{'|'.join(marks)}|", *lines[1:]]) + "\n"

    def to_csv(self):
        """Returns the table as CSV, ending in a newline; an empty cell is empty."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self._names())
        writer.writerows(map(_plain, row) for row in self.rows)
        return stream.getvalue()

    def to_latex(self, caption=""):
        """Returns the table as a `table` environment of LaTeX, ending in a newline.

        The document needs the package `booktabs` alone.

        Args:
            caption: str, plain text.

        Example:

        >>> print(Table(["a_b"], [[1]]).to_latex().splitlines()[6])
        a\\_b \\\\
        """
        return "\n".join(
            [
                "% Needs \\usepackage{booktabs}.",
                r"\begin{table}",
                r"\centering",
                r"\small",
                *([rf"\caption{{{escape(caption)}}}"] if caption else []),
                rf"\begin{{tabular}}{{{self.align}}}",
                r"\toprule",
                *_group_lines(self.groups),
                _latex_line(self.header),
                r"\midrule",
                *map(_latex_line, self.rows),
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def _names(self):
        above = [text for text, count in self.groups for _ in range(count)]
        above = above or [""] * len(self.header)
        return [f"{a} {name}".strip() for a, name in zip(above, self.header)]


def escape(text):
    """Returns text as LaTeX prints it.

    Example:

    >>> print(escape("50 % of a_b & c"))
    50 \\% of a\\_b \\& c
    """
    return text.translate(_LETTERS)


def texts(cell):
    """Returns a cell as a list of `Text`, for whoever draws a table.

    Args:
        cell: As in `Table`.

    Example:

    >>> texts(0.5), texts(None)
    ([Text(text='0.5', link='', style='')], [])
    """
    if cell is None:
        return []
    if isinstance(cell, Text):
        return [cell]
    return list(cell) if isinstance(cell, (list, tuple)) else [Text(str(cell))]


def _plain(cell):
    if isinstance(cell, (list, tuple)):
        return " ".join(part.text for part in texts(cell))
    return cell


def _to_markdown(cell):
    return " ".join(map(_markdown_text, texts(cell)))


def _markdown_text(part):
    text = part.text
    if part.style != "code":
        marks = _MARKS_OF_LINKS if part.link else _MARKS
        text = marks.sub(lambda found: "".join(f"\\{mark}" for mark in found[0]), text)
    text = text.replace("|", "\\|").replace("\n", " ")
    text = _MARKDOWN[part.style].format(text)
    return f"[{text}]({part.link})" if part.link else text


def _latex_line(cells):
    parts = ([_LATEX[p.style].format(escape(p.text)) for p in texts(c)] for c in cells)
    return " & ".join(map(" ".join, parts)) + r" \\"


def _group_lines(groups):
    """The line over the header, and the rules under what is in it."""
    cells, rules, column = [], "", 1
    for text, count in groups:
        if text:
            cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape(text)}}}")
            rules += rf"\cmidrule(lr){{{column}-{column + count - 1}}}"
        else:
            cells += [""] * count
        column += count
    return [" & ".join(cells) + r" \\", rules] if rules else []
