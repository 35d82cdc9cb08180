"""The speed comparison: what is asked of each side, what it checks, what the table says. No GPU, no llama.cpp."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from benchmarks.cuda.contestants import STRONG, ContestantError, Graph, Llama, Ours, Workload, samples
from benchmarks.cuda.decode import first_token, graphs, ratios, run, table

FAKE = """#!{python}
import json, os, sys
o = dict(zip(sys.argv[1::2], sys.argv[2::2]))
rate = 200.0 if os.environ.get("GGML_CUDA_GRAPH_OPT") else 100.0
rows = [{{"n_prompt": int(o["-p"]), "n_gen": int(o["-n"]), "n_depth": int(o["-d"])}}]
rows[0]["samples_ts"] = [rate] * int(o["-r"])
rows[0].update({change})
print(json.dumps(rows)); sys.exit({code})
"""


def fake(folder: Path, change: str = "{}", code: int = 0) -> Path:
    path = folder / "llama-bench"
    path.write_text(FAKE.format(python=sys.executable, change=change, code=code))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.quick
def test_tests_are_written_as_llama_bench_names_them() -> None:
    assert Workload.parse("tg128@4096") == Workload("tg", 128, 4096)
    assert [str(Workload.parse(t)) for t in ("pp5", "tg128@16384")] == ["pp5", "tg128@16384"]
    with pytest.raises(ValueError, match="tg128"):
        Workload.parse("decode")


@pytest.mark.quick
def test_llama_bench_is_asked_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGML_CUDA_GRAPH_OPT", "1")  # a shell's own setting must not reach the default
    default = Llama("llama.cpp", program=fake(tmp_path), gguf=Path("x.gguf"))
    strong = Llama("llama.cpp, GRAPH_OPT", program=default.program, gguf=Path("x.gguf"), environment=STRONG)
    tests = [Workload("tg", 128), Workload("pp", 5)]
    assert not run([default, strong], tests, rounds=2, repeat=3)
    assert default.rates[tests[0]] == [100.0] * 6
    assert strong.rates[tests[1]] == [200.0] * 6
    for change, code in (('{"n_gen": 1}', 0), ('{"samples_ts": [1.0]}', 0), ("{}", 3)):
        broken = Llama("llama.cpp", program=fake(tmp_path, change, code), gguf=Path("x.gguf"))
        with pytest.raises(ContestantError):
            broken.run(tests[0], 3)
        (problem,) = run([broken], tests[:1], rounds=2, repeat=3)
        assert problem.startswith("llama.cpp, tg128: ")


@pytest.mark.quick
def test_ratios_are_to_the_default_and_to_the_strongest() -> None:
    test, prompt = Workload("tg", 128), Workload("pp", 5)
    sides = [
        Llama(name, rates={test: [rate, rate, 9.0 * rate], prompt: [rate]})
        for name, rate in (
            ("ours, argmax", 300.0),
            ("ours, full", 240.0),
            ("llama.cpp", 100.0),
            ("llama.cpp, x", 120.0),
        )
    ]
    found = ratios(sides, test)
    assert found == {
        "argmax / default": 3.0,
        "argmax / strongest": 2.5,
        "full / default": 2.4,
        "full / strongest": 2.0,
    }
    page = table(sides, [test])
    assert "**2.50**" in page
    assert "300 (300 .. 2,700)" in page
    assert "ours, argmax 16.67 ms" in first_token(sides)


@pytest.mark.quick
def test_graphs_are_counted_over_rounds() -> None:
    test = Workload("tg", 128)
    ours = Ours("ours, argmax")
    ours.graphs[test] = Graph(171, 169, 1, 128, 126) + Graph(171, 169, 1, 128, 128)
    assert graphs([ours], [test, Workload("pp", 5)]) == (
        "ours, argmax, tg128: 171 nodes, 169 of them kernels of ours, in 1 split; "
        "99.22% of 256 calls replayed a CUDA graph."
    )
    assert "CUDA" not in str(Graph(171, 0, 1))


@pytest.mark.quick
def test_every_repetition_counts_where_it_is_known() -> None:
    rate = json.loads('{"median": 2.0, "min": 1.0, "max": 3.0}')
    assert samples(rate) == [1.0, 2.0, 3.0]
    assert samples({**rate, "all": [3.0, 1.0]}) == [3.0, 1.0]
