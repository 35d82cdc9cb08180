"""The documentation's site: links of pages (tools/docs/site.py), and that the API reference has every public name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import executorch_ggml
from executorch_ggml import errors
from tools.docs.site import PAGES, rewrite_links

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://example.org/owner/project"

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("README.md", "docs/cli.md", "[x](cli.md)"),
        ("README.md", "docs/building.md#plug-ins", "[x](building.md#plug-ins)"),
        ("README.md", "benchmarks/README.md", "[x](benchmarks.md)"),
        ("docs/cuda.md", "building.md", "[x](building.md)"),
        ("docs/cuda.md", "../CHANGELOG.md", "[x](changelog.md)"),
        ("docs/api/run.md", "../cli.md", "[x](../cli.md)"),
        ("docs/api/run.md", "../../README.md", "[x](../index.md)"),
        ("docs/cuda.md", "#here", "[x](#here)"),
        ("docs/cuda.md", "https://example.org/a.md", "[x](https://example.org/a.md)"),
        ("docs/cuda.md", "../schema/ggml_ir.fbs", f"[x]({REPOSITORY}/blob/main/schema/ggml_ir.fbs)"),
        ("README.md", "examples", f"[x]({REPOSITORY}/tree/main/examples)"),
        ("docs/cuda.md", "../no/such/file.md", "[x](../no/such/file.md)"),  # left for mkdocs to report
    ],
)
def test_links(source: str, target: str, expected: str) -> None:
    assert rewrite_links(f"[x]({target})", source, REPOSITORY) == expected


def test_a_link_to_a_source_is_text_without_a_repository() -> None:
    assert rewrite_links("see [`x`](../Makefile).", "docs/cuda.md", "") == "see `x`."


def test_code_is_left_alone() -> None:
    text = "```\n[x](../Makefile)\n```\n"
    assert rewrite_links(text, "docs/cuda.md", REPOSITORY) == text


def test_pages_from_outside_docs_exist() -> None:
    assert [source for source in PAGES if not (ROOT / source).is_file()] == []


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    listed = set(re.findall(r"(?m)^::: (\S+)$", text))
    assert "executorch_ggml.errors" in listed
    public = [name for name in executorch_ggml.__all__ if not hasattr(errors, name)]
    assert [name for name in public if f"executorch_ggml.{name}" not in listed] == []
