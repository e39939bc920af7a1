"""A page of HTML that needs no other file."""

import base64
import io
from xml.etree import ElementTree  # escapes all text, and closes every tag

from PIL import Image

from nfm_keras.figures.base import png
from nfm_keras.table import texts

_STYLE = """
body { font: 15px/1.45 sans-serif; color: #222; max-width: 62em; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0.2em; }
h2 { font-size: 1.2em; margin: 1.8em 0 0.5em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; font-size: 0.93em; }
th, td { padding: 0.2em 1em 0.2em 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid #e4e4e4; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.differs td { font-weight: bold; }
pre { background: #f4f4f4; padding: 0.7em; white-space: pre-wrap;
  overflow-wrap: anywhere; }
div.figure { overflow-x: auto; margin: 0.6em 0; }
img.figure { display: block; max-width: 100%; }
summary { cursor: pointer; margin: 0.6em 0; }
p.note { color: #555; font-size: 0.93em; }
td.number { white-space: nowrap; }
div.batches { display: grid; grid-template-columns: 1fr 1fr; gap: 0.5em 2em; }
div.batch { display: grid; grid-template-columns: repeat(4, 1fr); gap: 0.7em;
  align-content: start; }
div.batch p { grid-column: 1 / -1; margin: 0.5em 0 0; min-height: 2.9em; }
div.examples { display: grid; grid-template-columns: repeat(8, 1fr); gap: 0.7em; }
figure { margin: 0; }
figure img { width: 100%; image-rendering: pixelated; }
figcaption { font-size: 0.8em; line-height: 1.25; white-space: pre-line; }
@media (max-width: 45em) {
  body { margin: 0.7em auto; }
  table { display: block; overflow-x: auto; }
  td:last-child:not(.number) { min-width: 14em; }
  div.batches { grid-template-columns: 1fr; }
  div.examples { grid-template-columns: repeat(4, 1fr); }
}
@media print {
  body { margin: 0; max-width: none; font-size: 11px; }
  h2 { break-after: avoid; }
  img, tr, div.batch { break-inside: avoid; }
}
"""


_WIDE = 40
"""Letters that a picture may be wide and still shrink to the width of a phone."""

_TAGS = {"": "span", "aside": "em", "code": "code"}


def start(title):
    """Begins a page.

    Args:
        title: str.

    Returns:
        `(html, body)`, two elements of `xml.etree.ElementTree`.

    Example:

    >>> html, body = start("<1>")
    >>> "<title>&lt;1&gt;</title>" in text(html)
    True
    """
    html = ElementTree.Element("html", lang="en")
    head, body = add(html, "head"), add(html, "body")
    add(head, "meta", charset="utf-8")
    # Without it a phone shows the page as wide as a desk's, in tiny letters.
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "title", title)
    add(head, "style", _STYLE)
    return html, body


def text(html):
    """Returns the page as str."""
    content = ElementTree.tostring(html, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{content}\n"


def add(parent, tag, text=None, **attributes):
    """Adds an element to one, and returns it."""
    element = ElementTree.SubElement(parent, tag, attributes)
    element.text = text
    return element


def note(body, text):
    """Adds a paragraph in small."""
    add(body, "p", text, **{"class": "note"})


def table(body, content):
    """Adds a table and returns it.

    Args:
        body: Element to add it to.
        content: `nfm_keras.table.Table`; columns set to the right are of the class
            `number`.

    Example:

    >>> from nfm_keras.table import Table
    >>> html, body = start("A page")
    >>> len(table(body, Table(["scheme"], [["erm"], ["nfm"]])).findall("tbody/tr"))
    2
    """
    element = add(body, "table")
    parts = (("thead", "th", [content.header]), ("tbody", "td", content.rows))
    for part, tag, rows in parts:
        part = add(element, part)
        for cells in rows:
            row = add(part, "tr")
            for cell, align in zip(cells, content.align):
                right = {"class": "number"} if align == "r" else {}
                _fill(add(row, tag, **right), cell)
    return element


def figure(body, drawing, alt):
    """Adds a `matplotlib.figure.Figure`; nothing for `None`."""
    if drawing is not None:
        picture(body, png(drawing), alt)


def picture(body, content, alt):
    """Adds the bytes of a PNG file in the size in which its letters are read.

    Where the page is narrow, a wide one can be moved sideways instead of shrinking.
    """
    with Image.open(io.BytesIO(content)) as opened:
        dots = opened.info.get("dpi", (150, 150))[0]
        width = 5.5 * opened.width / dots
    element = image(add(body, "div", **{"class": "figure"}), content, alt)
    element.set("class", "figure")
    least = " min-width: 46em;" if width > _WIDE else ""
    element.set("style", f"width: {width:.0f}em;{least}")


def image(parent, content, alt):
    """Adds the bytes of a PNG file as an image, and returns it."""
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return add(parent, "img", src=source, alt=alt)


def encoded(pixels):
    """Returns uint8 pixels `(height, width, 1 or 3)` as the bytes of a PNG file."""
    file = io.BytesIO()
    picture = pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels
    Image.fromarray(picture).save(file, format="png")
    return file.getvalue()


def _fill(element, cell):
    """Puts a cell into an element, its styles and links as elements of their own."""
    parts = texts(cell)
    if len(parts) == 1 and not (parts[0].link or parts[0].style):
        element.text = parts[0].text
        return
    for part in parts:
        place = add(element, "a", href=part.link) if part.link else element
        child = add(place, _TAGS[part.style], part.text)
        (place if part.link else child).tail = " "
