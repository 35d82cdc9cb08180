"""tools/lint/words.py: how prose is counted, and that the limits of a page and of an old file hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = ROOT / "tools" / "lint"
sys.path.append(str(LINT))

import prose_markdown  # noqa: E402
import prose_rules  # noqa: E402
import prose_source  # noqa: E402
import words  # noqa: E402

pytestmark = pytest.mark.quick

LONG = "One " + "to " * 30 + "end.\n"  # 32 words


def lengths(page: str) -> list[int]:
    return prose_rules.measure(list(prose_markdown.paragraphs(page)), []).lengths


def kinds(page: str) -> list[str]:
    measured = prose_rules.measure(list(prose_markdown.paragraphs(page)), prose_markdown.long_lines(page))
    return [fault.kind for fault in measured.faults]


@pytest.mark.parametrize(
    "page, expected",
    [
        ("One sentence here. And\nanother one.", [3, 3]),
        ("Is it so? Yes! No ... but maybe (e.g. here).", [3, 1, 5]),
        ("The file is 1.5 MB, see `a b c`. End.", [7, 1]),
        ("**Bold words.** [A link of words](https://example.com/a.b?c) stays.", [2, 5]),
        ("- an item\n- the next item\n  goes on. It ends.\n\nText.", [2, 5, 2, 1]),
        ("1. first\n2. second\n", [1, 1]),
        ("Before.\n\n```\ncode is not counted. At all.\n```\n\n    nor is this\n\nAfter it.", [1, 2]),
        ("> A quote is text.", [4]),
        ("# A title is not counted\n\n| a cell | neither is |\n|---|---|\n| x y. z | w |\n", []),
        ("<!-- a comment is no text -->\n\nText.", [1]),
        ("a -> b / c", [3]),
        ("- `name`\n- `another name`\n- `name`: has a meaning\n", [4]),
    ],
)
def test_words_of_a_sentence(page: str, expected: list[int]) -> None:
    assert lengths(page) == expected


@pytest.mark.parametrize(
    "page, expected",
    [
        (LONG, ["long"]),
        ("| " + LONG.strip() + " |\n|---|\n| b |\n", ["long"]),  # a row cannot be broken, its sentences can
        ("This says what is left, for whoever asks.", ["relative", "relative"]),
        ("A tensor whose rows are long.", ["relative"]),
        ("What is left?", []),
        ('Do not write "what is left" here, nor `what`.', []),
        ("| what | meaning |\n|---|---|\n| a | b |\n", ["relative"]),
        ("The soft maximum is taken.", ["word"]),
        ("x " * 5 + "y" * 120, ["line"]),
        ("https://example.com/" + "y" * 120, []),
        ("```\n" + "x " * 80 + "\n```\n", []),
    ],
)
def test_faults_of_a_page(page: str, expected: list[str]) -> None:
    assert kinds(page) == expected


def test_a_fault_has_the_line_of_its_sentence() -> None:
    page = f"# Title\n\nShort one. Then\nshort too.\n{LONG}"
    measured = prose_rules.measure(list(prose_markdown.paragraphs(page)), [])
    assert [(fault.line, fault.words) for fault in measured.faults] == [(5, 32)]


PYTHON = '''"""Module text. Two sentences.

Args:
    one: the first argument
        goes on here.
    two (int): another.

Example::

    code is not counted
"""
x = 1  # behind code  # type: ignore[assignment]
# a comment of
# two lines

# noqa
text = "# not a comment, nor a docstring."


def f():
    r"""Has ``inline code of words`` in it."""
'''


def test_docstrings_and_comments_of_python() -> None:
    found = prose_rules.measure(list(prose_source.python_paragraphs(PYTHON)), [])
    assert found.lengths == [2, 2, 7, 3, 4, 2, 5]
    by_line = {prose.line: prose.text for prose in prose_source.python_paragraphs(PYTHON)}
    assert by_line[12] == "behind code"
    assert by_line[13] == "a comment of\ntwo lines"
    assert by_line[4] == "one: the first argument\ngoes on here."


CPP = """// First line
// goes on. New sentence.
//
//   - an item
//   - the other:
//         x = drawing(1)
//   name   a row of a table
int a;  // behind code
const char *s = "// no comment"; /* a block
 * of two lines */
///< documented
auto r = R"(// raw)";
"""


def test_comments_of_cpp() -> None:
    texts = [prose.text for prose in prose_source.cpp_paragraphs(CPP)]
    assert texts == [
        "First line\ngoes on. New sentence.",
        "an item",
        "the other:",
        "name   a row of a table",
        "behind code",
        "a block\nof two lines",
        "documented",
    ]


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(LINT / "words.py"), "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An old page with two faults, both in the baseline."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "tools" / "lint").mkdir(parents=True)
    (tmp_path / "docs" / "old.md").write_text(f"{LONG}\n{LONG}")
    assert run(tmp_path, "--update").returncode == 0
    assert baseline(tmp_path) == {"docs/old.md": 2}
    return tmp_path


def baseline(tree: Path) -> dict[str, int]:
    loaded: dict[str, int] = json.loads((tree / words.BASELINE).read_text())
    return loaded


def test_an_old_page_may_keep_its_faults(tree: Path) -> None:
    assert run(tree, "--check").returncode == 0


def test_a_long_sentence_in_a_new_page_fails(tree: Path) -> None:
    (tree / "docs" / "new.md").write_text(f"Fine.\n\n{LONG}")
    done = run(tree, "--check")
    assert done.returncode == 1
    assert "docs/new.md: 1 faults of prose, 0 allowed" in done.stdout
    assert "docs/new.md:3: 32 words" in done.stdout
    assert run(tree, "--update").returncode == 0
    assert baseline(tree) == {"docs/old.md": 2}  # a new page gets no allowance
    assert run(tree, "--check").returncode == 1


def test_more_faults_fail_and_are_never_recorded(tree: Path) -> None:
    (tree / "docs" / "old.md").write_text(f"{LONG}\n{LONG}\n{LONG}")
    assert run(tree, "--check").returncode == 1
    run(tree, "--update")
    assert baseline(tree) == {"docs/old.md": 2}


def test_fewer_faults_have_to_be_recorded(tree: Path) -> None:
    (tree / "docs" / "old.md").write_text(LONG)
    done = run(tree, "--check")
    assert (done.returncode, "--update" in done.stdout) == (1, True)
    run(tree, "--update")
    assert baseline(tree) == {"docs/old.md": 1}
    assert run(tree, "--check").returncode == 0


def test_a_page_that_is_gone_leaves_the_baseline(tree: Path) -> None:
    (tree / "docs" / "old.md").unlink()
    assert run(tree, "--check").returncode == 1
    run(tree, "--update")
    assert baseline(tree) == {}


def test_a_moved_file_keeps_its_allowance(tree: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        subprocess.run(["git", *identity, *arguments], cwd=tree, check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "start")
    git("mv", "docs/old.md", "docs/moved.md")
    assert run(tree, "--check").returncode == 1
    run(tree, "--update")
    assert baseline(tree) == {"docs/moved.md": 2}


def test_the_tree_itself_is_within_its_baseline() -> None:
    done = run(ROOT, "--check")
    assert done.returncode == 0, done.stdout
