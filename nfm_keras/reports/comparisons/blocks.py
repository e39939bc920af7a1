"""A page as a list of blocks: the same in Markdown and as HTML."""

import pathlib
import re
import urllib.parse
from typing import NamedTuple

from nfm_keras import records
from nfm_keras.reports import html
from nfm_keras.table import Table

_STYLE = """
p.verdict { font-size: 1.15em; line-height: 1.5; border-left: 4px solid #0072B2;
  padding-left: 0.8em; margin: 1em 0; }
code { overflow-wrap: anywhere; }
ul { padding-left: 1.2em; }
"""

_PARTS = re.compile(r"(\*\*.+?\*\*|`[^`]+`)")


class Heading(NamedTuple):
    """The title of a section."""

    text: str


class Paragraph(NamedTuple):
    """Sentences, with `**bold**` and code in backquotes.

    Attributes:
        text: str.
        role: str, `"verdict"`, `"note"` for what is small, or empty.
    """

    text: str
    role: str = ""


class Items(NamedTuple):
    """A list of sentences, as in `Paragraph`."""

    texts: tuple


class Picture(NamedTuple):
    """A picture in the folder of the page.

    Attributes:
        name: str, the file's.
        alt: str, what it shows.
    """

    name: str
    alt: str


class Code(NamedTuple):
    """Lines to type."""

    text: str


def to_markdown(title, blocks):
    """Returns a page in the Markdown of GitHub.

    Args:
        title: str.
        blocks: iterable of the classes above and `nfm_keras.table.Table`.

    Example:

    >>> print(to_markdown("A page", [Heading("One"), Items(("a", "b"))]), end="")
    # A page
    <BLANKLINE>
    ## One
    <BLANKLINE>
    * a
    * b
    """
    return "\n\n".join([f"# {title}", *map(_markdown, blocks)]) + "\n"


def to_html(title, blocks, folder):
    """Returns the same page as HTML that needs no other file.

    Args:
        title, blocks: As in `to_markdown`.
        folder: Path, where the pictures are.
    """
    whole, body = html.start(title)
    html.add(whole.find("head"), "style", _STYLE)
    html.add(body, "h1", title)
    for block in blocks:
        _add(body, block, pathlib.Path(folder))
    return html.text(whole)


def write(path, title, blocks):
    """Writes a page in both forms, NAME.md and NAME.html.

    Args:
        path: `pathlib.Path` of NAME.md; the pictures are beside it.
        title, blocks: As in `to_markdown`.

    Returns:
        The path.
    """
    blocks = list(blocks)
    records.write_text(path, to_markdown(title, blocks))
    html_page = to_html(title, blocks, path.parent)
    records.write_text(path.with_suffix(".html"), html_page)
    return path


def _markdown(block):
    if isinstance(block, Heading):
        return f"## {block.text}"
    if isinstance(block, Items):
        return "\n".join(f"* {text}" for text in block.texts)
    if isinstance(block, Picture):
        return f"![{block.alt}]({urllib.parse.quote(block.name)})"
    if isinstance(block, Code):
        return f"```\n{block.text}\n```"
    return block.to_markdown().strip() if isinstance(block, Table) else block.text


def _add(body, block, folder):
    if isinstance(block, Heading):
        html.add(body, "h2", block.text)
    elif isinstance(block, Table):
        html.table(body, block)
    elif isinstance(block, Picture):
        html.picture(body, (folder / block.name).read_bytes(), block.alt)
    elif isinstance(block, Code):
        html.add(body, "pre", block.text)
    elif isinstance(block, Items):
        place = html.add(body, "ul")
        for text in block.texts:
            _fill(html.add(place, "li"), text)
    else:
        role = {"class": block.role} if block.role else {}
        _fill(html.add(body, "p", **role), block.text)


def _fill(element, text):
    """Puts sentences into an element, what is bold or code as elements of its own."""
    first, *rest = _PARTS.split(text)
    element.text = first
    for marked, after in zip(rest[::2], rest[1::2], strict=True):
        bold = marked.startswith("**")
        child = html.add(element, "strong" if bold else "code", marked.strip("*`"))
        child.tail = after
