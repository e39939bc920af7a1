"""What the site has beside the pages of docs/.

An API reference: a page for each subpackage, made from the names in its `__init__.pyi`,
so that a public name cannot be missing. And the files of the repository that a page
links to, such as records and tables: they are copied to `repository/`, and so are the
files that those tables link to. In docs/ a link to them is relative to the page, as on
any other host of the repository.
"""

import ast
import os
import pathlib
import re

from mkdocs.structure.files import File

DOCS = pathlib.Path(__file__).parents[1]
ROOT = DOCS.parent
PACKAGE = ROOT / "nfm_keras"
COPIES = "repository"
LINK = re.compile(r"(?<=\]\()[^)\s#]+")
"""The target of a Markdown link or picture, without its anchor."""


def on_config(config):
    """Adds the API reference to the navigation."""
    pages = ["api/index.md", *(f"api/{package}.md" for package in packages())]
    config.nav.append({"API reference": pages})
    return config


def on_files(files, config):
    """Adds the pages of the API reference and the files that pages link to."""
    files.append(File.generated(config, "api/index.md", content=front_page()))
    for package in packages():
        page = File.generated(config, f"api/{package}.md", content=reference(package))
        files.append(page)
    for path in linked_files():
        uri = f"{COPIES}/{path.relative_to(ROOT).as_posix()}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, **_):
    """Points links that leave docs/ to the copies."""
    if page.file.src_uri.startswith(COPIES):
        page.meta["search"] = {"exclude": True}
        return markdown
    here = DOCS / page.file.src_uri

    def moved(match):
        path = target(here, match[0])
        if path is None or path.is_relative_to(DOCS):
            return match[0]
        copy = f"{COPIES}/{path.relative_to(ROOT).as_posix()}"
        return os.path.relpath(copy, os.path.dirname(page.file.src_uri) or ".")

    return LINK.sub(moved, markdown)


def on_page_content(html, **_):
    """Marks flags, which would break behind their hyphens at the end of a line."""
    return html.replace("<code>--", '<code class="flag">--')


def target(page, link):
    """Returns the file that a page links to; None for an address or no file."""
    path = pathlib.Path(os.path.normpath(page.parent / link))
    inside = "://" not in link and path.is_relative_to(ROOT)
    return path if inside and path.is_file() else None


def linked_files():
    """Returns the files outside docs/ that its pages link to, and those link to."""
    waiting, copies = sorted(DOCS.rglob("*.md")), set()
    while waiting:
        page = waiting.pop()
        links = LINK.findall(page.read_text(encoding="utf-8"))
        for path in filter(None, (target(page, link) for link in links)):
            if path not in copies and not path.is_relative_to(DOCS):
                copies.add(path)
                waiting += [path] if path.suffix == ".md" else []
    return sorted(copies)


def packages():
    """Returns the names of the subpackages that have public names."""
    return sorted(stub.parent.name for stub in PACKAGE.glob("*/__init__.pyi"))


def public_names(folder):
    """Returns the public names of a package, as its `__init__.pyi` gives them.

    `from . import name` gives a package inside it, which has a section of its own.
    """
    stub = (folder / "__init__.pyi").read_text(encoding="utf-8")
    taken = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
    return [alias.name for node in taken if node.module for alias in node.names]


def reference(package):
    """Returns the page of a subpackage and of the packages inside it."""
    inside = sorted(stub.parent for stub in (PACKAGE / package).glob("*/__init__.pyi"))
    return "\n".join(section(folder) for folder in [PACKAGE / package, *inside])


def section(folder):
    """Returns the headings and directives of one package."""
    name = ".".join(folder.relative_to(ROOT).parts)
    level = len(folder.relative_to(PACKAGE).parts)
    lines = [
        f"{'#' * level} {name}",
        f"::: {name}",
        "    options:",
        "      members: false",
        "      show_root_heading: false",
        "      show_root_toc_entry: false",
        "",
    ]
    for public in public_names(folder):
        lines += [f"::: {name}.{public}", "    options:"]
        lines += [f"      heading_level: {level + 1}", ""]
    return "\n".join(lines)


def front_page():
    """Returns the page of the names at the top of the package."""
    lines = ["# nfm_keras", "", "`import nfm_keras as nfm` gives these names:", ""]
    lines += ["| name | is |", "|---|---|"]
    for node in ast.parse((PACKAGE / "__init__.pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                place = node.module if node.module in packages() else ""
                path = ".".join(filter(None, ("nfm_keras", place, alias.name)))
                lines.append(f"| [`nfm.{alias.name}`][{path}] | `{path}` |")
    lines += ["", "and the subpackages, `nfm.attacks` and so on:", ""]
    lines += [f"* [`nfm.{name}`]({name}.md)" for name in packages()]
    lines += ["", "::: nfm_keras.unit_range", "", "## Types in signatures", ""]
    for node in ast.parse((PACKAGE / "types.py").read_text()).body:
        name = getattr(node, "target", node)
        name = getattr(name, "id", getattr(name, "name", None))
        if name:
            lines += [f"::: nfm_keras.types.{name}", "    options:"]
            lines += ["      heading_level: 3", ""]
    return "\n".join([*lines, ""])
