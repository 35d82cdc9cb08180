"""The workflow files name things that exist, and no job runs without a limit (zizmor checks the rest)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

pytestmark = pytest.mark.quick


def load(path: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as a boolean.
    content: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}


def test_there_are_workflows() -> None:
    assert {path.stem for path in WORKFLOWS} >= {"docs", "lint", "nightly", "tests", "wheels"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_limits(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {}
    assert "cancel-in-progress" in workflow["concurrency"]
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 350  # GitHub ends a job after six hours, without a word
        assert job["permissions"]


def test_the_nightly_run_has_every_room_with_nightly_tests() -> None:
    marked = re.compile(r"^[^\"']*\bmark\.nightly\b", re.MULTILINE)
    rooms = {
        path.relative_to(ROOT / "tests").parts[0]
        for path in (ROOT / "tests").rglob("test_*.py")
        if marked.search(path.read_text(encoding="utf-8"))
    }
    nightly = load(ROOT / ".github" / "workflows" / "nightly.yml")["jobs"]
    assert sorted(nightly["tests"]["strategy"]["matrix"]["room"]) == sorted(rooms)


def test_the_nightly_run_names_presets() -> None:
    presets = json.loads((ROOT / "CMakePresets.json").read_text(encoding="utf-8"))
    known = {preset["name"] for preset in presets["testPresets"]}
    jobs = load(ROOT / ".github" / "workflows" / "nightly.yml")["jobs"]
    assert set(jobs["sanitizers"]["strategy"]["matrix"]["preset"]) <= known
    text = (ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"--preset (\w+)", text))
    assert named == {"fuzz"}
    assert named <= {preset["name"] for preset in presets["buildPresets"]}


def test_scripts_that_workflows_run_exist() -> None:
    steps = [*WORKFLOWS, *(ROOT / ".github" / "actions").glob("*/action.yml")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in steps)
    named = set(re.findall(r"(?<![\w/.-])((?:tools|tests|\.ci|\.github/actions)/[\w./-]*\w)", text))
    assert {".ci/packages", ".ci/run", "tests/cpp/fuzz.sh", "tools/wheels/audit.py", "tools/wheels/try.sh"} <= named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_variants_of_the_wheels_workflow_are_all_there_are() -> None:
    jobs = load(ROOT / ".github" / "workflows" / "wheels.yml")["jobs"]
    built = {*jobs["linux"]["strategy"]["matrix"]["variant"]}
    built |= {step["with"]["variant"] for step in jobs["cuda"]["steps"] if "variant" in step.get("with", {})}
    assert built == {path.stem for path in (ROOT / "wheels").glob("*.toml")}
