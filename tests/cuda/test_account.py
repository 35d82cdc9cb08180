"""The kernel-by-kernel account of a step, from a trace that was made up. No GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cuda.account.account import kernel_table, short, side_by_side
from benchmarks.cuda.account.steps import TraceError, decode_steps, read
from benchmarks.cuda.account.traffic import Traffic

LAYERS = 2
TRAFFIC = Traffic(
    layers=LAYERS,
    sizes={
        name: [size] * LAYERS
        for name, size in (
            ("attn_q", 2000), ("attn_k", 1000), ("attn_v", 1000), ("attn_output", 2000), ("attn_qkv", 0),
            ("ffn_gate", 6000), ("ffn_up", 6000), ("ffn_down", 6000),
        )
    },
    head=50_000,
    cache=512,
)  # fmt: skip
MATVEC = "void etggml::cuda::(anonymous namespace)::matvec_kernel<(etggml::cuda::Type)8, 1>(etggml::cuda::MatVecParams)"
OURS = [*[MATVEC, "heads_kernel(Params)", "attention_kernel<128, 2>(Params)", *[MATVEC] * 3] * LAYERS, MATVEC]


def write(path: Path, steps: int, kernels: list[str], overlap: int = 0) -> None:
    """``steps`` launches of a graph: kernels of 1,000 ns, each begun ``overlap`` before the last one's end."""
    lines, now = [], 10_000
    for step in range(steps):
        lines.append(f"copy\t{now - 500}\t{now - 400}\t{900 + step}\t0\t7\t-\t-\t64\tcopy to device")
        for i, name in enumerate(kernels):
            lines.append(f"kernel\t{now}\t{now + 1000}\t{step + 1}\t{i + 1}\t7\t132,1,1\t256,1,1\t0\t{name}")
            now += 1000 - overlap
        now += 2000
    lines.append(f"kernel\t{now}\t{now + 9}\t5000\t0\t7\t1,1,1\t1,1,1\t0\twarm_up()")
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.quick
@pytest.mark.parametrize("overlap", [0, 300])
def test_what_adds_up_is_the_step(tmp_path: Path, overlap: int) -> None:
    trace = tmp_path / "trace.tsv"
    write(trace, 5, OURS, overlap)
    step = decode_steps(read(trace))
    assert step.count == 5
    assert [p.name for p in step.places] == OURS
    assert sum(p.advance for p in step.places) == pytest.approx(step.span)
    assert {p.duration for p in step.places} == {1.0}
    assert step.interval == pytest.approx((len(OURS) * (1000 - overlap) + 2000) / 1e3)
    assert step.outside == {"copy to device, 64 bytes": 1.0}


@pytest.mark.quick
def test_every_matrix_is_read_once(tmp_path: Path) -> None:
    roles = TRAFFIC.attribute(OURS)
    assert [role for role, _ in roles[:6]] == [
        "q, k, v",
        "heads, rotation, cache",
        "attention",
        "o",
        "gate, up",
        "down",
    ]
    assert roles[0][1] == 4000
    assert roles[-1] == ("head", 50_000)
    everything = LAYERS * (24_000 + 512) + 50_000
    assert sum(size for _, size in roles) == everything
    theirs = ["quantize_q8_1(x)", *["mul_mat_vec_q<(ggml_type)8, 1>(x)"] * 3, "flash_attn_ext_vec<128>(x)"]
    theirs += ["flash_attn_combine_results<128>(x)", *["mul_mat_vec_q<(ggml_type)8, 1>(x)"] * 3]
    step = theirs * LAYERS + ["mul_mat_vec_q<(ggml_type)8, 1>(x)"]
    assert sum(size for _, size in TRAFFIC.attribute(step)) == everything
    # A program of another shape: all of it in equal parts.
    assert sum(size for _, size in TRAFFIC.attribute([MATVEC] * 3)) == pytest.approx(everything - LAYERS * 512, abs=3)

    trace = tmp_path / "trace.tsv"
    write(trace, 3, OURS)
    found = decode_steps(read(trace))
    table = kernel_table(found, TRAFFIC, 1e11)
    assert "| head | `matvec_kernel<8, 1>` | 1 | 0.1 | 1.0 | 1.00 | 1.00 | 50% |" in table
    both = side_by_side({"ours": found, "llama.cpp": found}, {"ours": TRAFFIC, "llama.cpp": TRAFFIC})
    assert "| gate, up | 2 | 2.0 | 2 | 2.0 |" in both


@pytest.mark.quick
def test_names_and_traces_without_steps(tmp_path: Path) -> None:
    assert short("void (anonymous namespace)::f<a::B, (c::D)3>(int (*)(x))") == "f<B, 3>"
    trace = tmp_path / "trace.tsv"
    write(trace, 1, OURS)
    with pytest.raises(TraceError, match="twice"):
        decode_steps(read(trace))
