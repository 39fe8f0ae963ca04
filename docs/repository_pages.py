"""The site's pages that live elsewhere in the repository, and links that leave the site. A hook of MkDocs.

README.md is the front page; the others keep their places and their links. A link to a file that is no page becomes the
file's path, so that every page reads the same in the repository and on the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]
_ROOMS = ("build", "client", "docker", "embedding_repository", "model_repository", "src", "tests")
_PAGES = {  # path in the repository -> page of the site; what is in docs/ is found by MkDocs
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    **{f"{room}/README.md": f"{room}.md" for room in _ROOMS},
}
_SOURCES = {page: path for path, page in _PAGES.items()}
_LINK = re.compile(r"\[([^\]\n]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Those of `docs` and those from elsewhere."""
    for path, page in _PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(_ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs' names
    """The page with its links as the site has them."""
    uri = page.file.src_uri
    path = _SOURCES.get(uri, f"docs/{uri}")
    return _LINK.sub(lambda found: _link(found[1], found[2], path, uri), markdown)


def _link(label: str, target: str, path: str, uri: str) -> str:
    """A link of the file at `path` in the repository, as the page `uri` has it."""
    name, hash_sign, anchor = target.partition("#")
    if not name or "://" in target or target.startswith("mailto:"):
        return f"[{label}]({target})"
    found = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
    page = _PAGES.get(found)
    if page is None and found.startswith("docs/"):
        page = found.removeprefix("docs/")
    if page is None:
        return label if label == f"`{found}`" else f"{label} (`{found}`)"
    return f"[{label}]({posixpath.relpath(page, posixpath.dirname(uri) or '.')}{hash_sign}{anchor})"
