"""`bench`: llama-bench's tests, lists and forms; programs that are no language models."""

from __future__ import annotations

import csv
import io
import json
import statistics
from pathlib import Path

import pytest
from shared_models import Mlp, TinyLlm
from typer.testing import CliRunner, Result

from executorch_ggml.cli.bench_measure import Case, Measured, cases_of
from executorch_ggml.cli.bench_output import Subject, markdown
from executorch_ggml.cli.main import app


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture
def given(bundled: TinyLlm) -> list[object]:
    return ["bench", bundled.pte, "-g", bundled.gguf, "-r", 3, "--warmup", 0]


def test_lists_and_markdown(given: list[object]) -> None:
    result = cli(*given, "-p", "4,8", "-p", 16, "-n", 3, "-t", "1,2", "--depth", "0,5")
    assert result.exit_code == 0, result.output
    head, rule, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()]
    assert head == ["model", "size", "params", "backend", "threads", "cache", "test", "t/s"]
    assert set("".join(rule)) <= set("-:")
    tests = ["pp4", "pp8", "pp16", "pp4 @ d5", "pp8 @ d5", "pp16 @ d5", "tg3", "tg3 @ d5"]
    assert [(row[4], row[6]) for row in rows] == [(t, name) for t in ("1", "2") for name in tests]
    assert {tuple(row[:4]) for row in rows} == {("qwen3 2.9M Q8_0", "2.99 MiB", "2.89 M", "cpu")}
    assert all(float(row[7].split(" ± ")[0]) > 0 for row in rows)


def test_json_and_csv(given: list[object], bundled: TinyLlm) -> None:
    rows = json.loads(cli(*given, "-p", 4, "-n", 3, "-t", 1, "--json", "--logits", "full").stdout)
    assert [(row["test"], row["n_prompt"], row["n_gen"]) for row in rows] == [("pp4", 4, 0), ("tg3", 0, 3)]
    for row in rows:
        assert len(row["samples"]) == 3
        assert row["avg"] == pytest.approx(statistics.fmean(row["samples"]))
        assert row["stddev"] == pytest.approx(statistics.stdev(row["samples"]))
        assert row["model_size"] == bundled.gguf.stat().st_size
        assert (row["n_threads"], row["backend"], row["cache_type"]) == (1, "cpu", "f16")
    text = cli(*given, "-p", 4, "-n", 0, "-t", 1, "-o", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["test"], row["gguf"]) == ("pp4", str(bundled.gguf))


def test_defaults_shrink_and_numbers_do_not(given: list[object]) -> None:
    rows = json.loads(cli(*given, "-t", 1, "--json").stdout)
    assert [row["test"] for row in rows] == ["pp96", "tg94"]  # the graph has 96 positions
    result = cli(*given, "-p", 97)
    assert (result.exit_code, "97 positions, the graph has 96" in result.stderr) == (1, True)


def test_any_program(mlp: Mlp, counter_pte: Path) -> None:
    rows = json.loads(cli("bench", mlp.pte, "-t", 1, "-r", 2, "--json").stdout)
    assert [(row["test"], row["unit"], row["model_n_params"]) for row in rows] == [("forward", "calls/s", None)]
    assert rows[0]["avg"] > 0
    assert json.loads(cli("bench", mlp.bare_pte, "-g", mlp.gguf, "-r", 2, "--json").stdout)[0]["avg"] > 0
    assert "calls/s" in cli("bench", counter_pte, "-r", 1).stdout


def test_profile(mlp: Mlp) -> None:
    result = cli("bench", mlp.pte, "-t", 1, "-r", 1, "--profile")
    assert "calls/s" in result.stdout
    assert result.stderr.split()[:5] == ["operation", "sizes", "count", "ms", "share"]
    assert "LINEAR" in result.stderr
    assert cli("bench", mlp.pte, "-t", 1, "-r", 1).stderr == ""


@pytest.mark.parametrize(
    "more, word",
    [(["-p", "4,x"], "4,x"), (["-t", "-1"], "-1"), (["-p", 0, "-n", 0], "nothing"), (["--method", "back"], "back")],
)
def test_refused(more: list[object], word: str, given: list[object]) -> None:
    result = cli(*given, *more)
    assert result.exit_code == 1, result.output
    assert word in result.stderr
    assert "Traceback" not in result.output


def test_the_order_and_the_table() -> None:
    assert [case.name for case in cases_of([512], [128, 0], [0, 7])] == ["pp512", "pp512 @ d7", "tg128", "tg128 @ d7"]
    subject = Subject("a|b", 1 << 31, 1_500_000_000, "m.pte", "m.gguf")
    text = markdown(subject, [Measured(Case(n_prompt=4), "cpu", 1, "f16", (1.0, 3.0))])
    assert "| a\\|b  | 2.00 GiB | 1.50 B | cpu     |       1 | f16   |  pp4 | 2.00 ± 1.41 |" in text
    assert Measured(Case(n_gen=1), "cpu", 1, "f16", (2.0,)).deviation == 0
