"""MkDocs hooks: pages that lie outside docs/, and links that work on GitHub and in the site.

README.md is the front page. A link to a file of the repository that is no page of the site leads to the repository
(REPOSITORY_URL); where that is not set the link's text stays, without a link.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Path in the repository -> path in the site. All of docs/ is in the site by itself.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "benchmarks/README.md": "benchmarks.md",
}
SOURCES = {site: source for source, site in PAGES.items()}

_FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\(([^()\s]+)\)")


def _rewrite(text: str, target: str, source: str, repository: str) -> str | None:
    """The link as it must be in the site's page made from ``source``, or None when it is right as it is."""
    path, _, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", target):
        return None
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    anchor = f"#{anchor}" if anchor else ""
    page = PAGES.get(inside) or (inside.removeprefix("docs/") if re.match(r"docs/.*\.md$", inside) else None)
    if page is not None:
        here = posixpath.dirname(PAGES.get(source) or source.removeprefix("docs/"))
        return f"[{text}]({posixpath.relpath(page, here or '.')}{anchor})"
    if not (ROOT / inside).exists():
        return None  # mkdocs reports it
    if not repository:
        return text
    kind = "tree" if (ROOT / inside).is_dir() else "blob"
    return f"[{text}]({repository.rstrip('/')}/{kind}/main/{inside}{anchor})"


def rewrite_links(markdown: str, source: str, repository: str) -> str:
    """All links of a page outside of code blocks; ``source`` is its path in the repository."""

    def link(match: re.Match[str]) -> str:
        made = _rewrite(match[1], match[2], source, repository)
        return match[0] if made is None else made

    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


def on_files(files: Any, config: Any, **_: Any) -> Any:
    from mkdocs.structure.files import File  # here: the test of the links needs no mkdocs

    for source, site in PAGES.items():
        files.append(File.generated(config, site, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    source = SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return rewrite_links(markdown, source, config.repo_url or "")
