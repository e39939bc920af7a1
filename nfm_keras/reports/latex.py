"""A table of accuracies as LaTeX, in the form of the paper's."""

import itertools

from nfm_keras.reports.columns import lines, remarks, shown

_HEADS = {
    "white_noise": r"white noise $\sigma$",
    "salt_and_pepper": r"salt and pepper $\gamma$",
}

# What LaTeX reads as a command, and letters that a font of its own may lack.
_LETTERS = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "—": "---",
        "±": r"$\pm$",
        "×": r"$\times$",
        "∞": r"$\infty$",
        "α": r"$\alpha$",
        "γ": r"$\gamma$",
        "ε": r"$\epsilon$",
        "σ": r"$\sigma$",
    }
)


def to_latex(rows, names=None, *, paper=False, title=None):
    """Write rows as a LaTeX table; its document needs the package `booktabs` alone.

    Args:
        rows: list of `nfm_keras.reports.aggregate.Row`.
        names: columns to show, as in `nfm_keras.reports.columns.to_markdown`.
        paper: bool, as there.
        title: str. The first sentence of the caption.

    Returns:
        str ending in a newline: a `table` environment.

    Raises:
        ValueError: if a column is not there.

    Example:

    >>> print(to_latex(summarise(runs, "pixel"), ["clean"]))  # doctest: +SKIP
    """
    names = shown(rows, names)
    notes = " ".join(([f"{title}."] if title else []) + remarks(rows, paper=paper))
    caption = escape(notes.replace("{paper}", "paper"))
    body = []
    for line in lines(rows, names, paper=paper):
        label = (
            escape(line.label) if line.row else rf"\quad\emph{{{escape(line.label)}}}"
        )
        cells = map(escape, (str(line.seeds), line.hours, *line.cells))
        body.append(_line(label, *cells))
    return "\n".join(
        [
            "% Needs \\usepackage{booktabs}.",
            r"\begin{table}",
            r"\centering",
            r"\small",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(names) + 2)}}}",
            r"\toprule",
            *_head(names),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape(text):
    """Text as LaTeX prints it.

    Example:

    >>> print(escape("50 % of a_b & c"))
    50 \\% of a\\_b \\& c
    """
    return text.translate(_LETTERS)


def _head(names):
    """Two lines: kinds of perturbation over their severities, as in the paper."""
    above, rules, below, at = ["", "", ""], "", ["scheme", "seeds", "hours"], 4
    for kind, group in itertools.groupby(names, lambda name: name.partition("@")[0]):
        group = list(group)
        if kind in _HEADS:
            above.append(rf"\multicolumn{{{len(group)}}}{{c}}{{{_HEADS[kind]}}}")
            rules += rf"\cmidrule(lr){{{at}-{at + len(group) - 1}}}"
            below += [name.partition("@")[2] for name in group]
        else:
            above += [""] * len(group)
            below += map(escape, group)
        at += len(group)
    return [*([_line(*above), rules] if rules else []), _line(*below)]


def _line(*cells):
    return " & ".join(cells) + r" \\"
