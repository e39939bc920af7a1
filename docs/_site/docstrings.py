"""Docstrings as the site shows them: examples become blocks of code."""

import griffe


class Examples(griffe.Extension):
    """Fences what begins with `>>>`, which Markdown takes for quotations."""

    def on_object(self, *, obj, **_):
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text):
    """Returns a docstring with fences around its examples.

    Example:

    >>> print(fenced("Adds.\\n\\n>>> 1 + 1\\n2\\n\\nEnd."))
    Adds.
    <BLANKLINE>
    ```pycon
    >>> 1 + 1
    2
    ```
    <BLANKLINE>
    End.
    """
    lines, inside = [], False
    for line in [*text.split("\n"), ""]:
        start, end = line.startswith(">>> "), not line.strip()
        if start and not inside:
            lines.append("```pycon")
            inside = True
        elif end and inside:
            lines.append("```")
            inside = False
        lines.append(line.replace("  # doctest: +SKIP", "") if inside else line)
    return "\n".join(lines).rstrip("\n")
