"""Exporting a GGUF: one delegate, every tensor named, nothing of the weights in the file. No native code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pte_contents as pte_reader
import pytest
from tiny import MAX_SEQ_LEN

from executorch_ggml.errors import FileError, FormatError, InvalidArgumentError
from executorch_ggml.llm.decoder import StateKind, build_decoder, read_header
from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
from tests.support.gguf_presets import TINY


@pytest.mark.parametrize("arch", sorted(TINY))
def test_one_delegate_with_every_tensor(make_gguf: Any, exported: Any, arch: str) -> None:
    pte = pte_reader.read(exported(arch))
    assert pte.delegates == 1
    assert set(pte.others) <= {"aten::sym_size"}  # read by the runtime itself
    header = read_header(make_gguf(arch))
    assert pte.keys | {"token_embd.weight"} == set(header.tensors) | {"output.weight"}
    # One attention for each layer that has one, over a cache of its own; the kind of each state is as declared.
    declared = build_decoder(header, MAX_SEQ_LEN).states
    assert pte.count("FlashAttn") == sum(name.endswith(".k_cache") for name in declared)
    kinds = {0: StateKind.SEQUENCE, 1: StateKind.POSITIONS}
    assert {s.name.decode(): kinds[s.kind] for s in pte.graph.states} == declared
    assert json.loads(pte.expectations["general.architecture"]) == header["general.architecture"]
    assert [(s.min, s.max) for s in pte.graph.symbols] == [(1, MAX_SEQ_LEN)] * 2  # tokens of a call, filled rows


def test_head_is_tied_or_not(make_gguf: Any, exported: Any, tmp_path: Path) -> None:
    """One graph serves both: the head's key has the embedding as its alternative."""
    export_gguf_to_pte(make_gguf("qwen3", tied=False), tmp_path / "m.pte", GGUFExportConfig(max_seq_len=MAX_SEQ_LEN))
    assert (tmp_path / "m.pte").read_bytes() == exported("qwen3").read_bytes()
    parts = [part.keys for slot in pte_reader.read(tmp_path / "m.pte").graph.weights for part in slot.parts]
    assert [keys for keys in parts if keys[0] == b"output.weight"] == [[b"output.weight", b"token_embd.weight"]]


def test_same_bytes_whatever_the_quantisation(make_gguf: Any, exported: Any, tmp_path: Path) -> None:
    for kind in ("bf16", "q4_0"):
        result = export_gguf_to_pte(
            make_gguf("qwen3", type=kind), tmp_path / "m.pte", GGUFExportConfig(max_seq_len=MAX_SEQ_LEN)
        )
        assert (tmp_path / "m.pte").read_bytes() == exported("qwen3").read_bytes()
        assert result.bytes == (tmp_path / "m.pte").stat().st_size


def test_same_bytes_in_another_process(make_gguf: Any, exported: Any, tmp_path: Path) -> None:
    """Nothing of the process (hash seeds, object ids, paths) enters the file."""
    code = (
        "import sys; from executorch_ggml.llm.export import *;"
        f"export_gguf_to_pte(sys.argv[1], sys.argv[2], GGUFExportConfig(max_seq_len={MAX_SEQ_LEN}))"
    )
    command = [sys.executable, "-c", code, str(make_gguf("qwen3")), str(tmp_path / "m.pte")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "1"}, capture_output=True)
    assert (tmp_path / "m.pte").read_bytes() == exported("qwen3").read_bytes()


def test_what_hosts_ask(exported: Any) -> None:
    """The constant methods that ExecuTorch's text runners read."""
    constants = pte_reader.read(exported("qwen3")).constants
    values = {name: v.int_val if hasattr(v, "int_val") else v.bool_val for name, v in constants.items()}
    assert values == {
        "get_max_seq_len": MAX_SEQ_LEN, "get_max_context_len": MAX_SEQ_LEN, "get_vocab_size": 512, "get_n_layers": 2,
        "use_kv_cache": True, "use_sdpa_with_kv_cache": False, "enable_dynamic_shape": True,
    }  # fmt: skip


def test_static_graph_takes_one_token(make_gguf: Any, tmp_path: Path) -> None:
    config = GGUFExportConfig(max_seq_len=64, preserve_dynamic_shapes=False)
    export_gguf_to_pte(make_gguf("qwen3"), tmp_path / "m.pte", config)
    pte = pte_reader.read(tmp_path / "m.pte")
    assert [list(i.dims) for i in pte.graph.inputs] == [[1, 1], [1]]
    assert pte.constants["enable_dynamic_shape"].bool_val is False


def test_logits_of_the_last_position_or_of_all(exported: Any) -> None:
    last, full = (pte_reader.read(exported("qwen3", full_logits=full)).graph.outputs[0].dims for full in (False, True))
    assert list(last) == [1, 1, 512]
    assert [int(d) for d in full[::2]] == [1, 512]
    assert full[1] < 0  # an expression


def test_one_position(make_gguf: Any, tmp_path: Path) -> None:
    export_gguf_to_pte(make_gguf("qwen3"), tmp_path / "m.pte", GGUFExportConfig(max_seq_len=1))
    assert [list(i.dims) for i in pte_reader.read(tmp_path / "m.pte").graph.inputs] == [[1, 1], [1]]


def test_refusals(make_gguf: Any, tmp_path: Path) -> None:
    for bad in (0, -1, 2.5, True):
        with pytest.raises(InvalidArgumentError, match="max_seq_len"):
            GGUFExportConfig(max_seq_len=bad)  # type: ignore[arg-type]
    with pytest.raises(FileError, match="nowhere"):
        export_gguf_to_pte(tmp_path / "nowhere.gguf", tmp_path / "m.pte")
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(FormatError):
        export_gguf_to_pte(tmp_path / "x.gguf", tmp_path / "m.pte")
    assert [p.name for p in tmp_path.iterdir()] == ["x.gguf"]


@pytest.mark.slow
def test_real_size(tmp_path: Path) -> None:
    """Qwen3-0.6B from its header alone: under 300 kB and 1.5 GB. The data need not even exist."""
    from tests.support.gguf_file import GgufFile
    from tests.support.gguf_layouts import STRING, Kv, layout_of
    from tests.support.gguf_presets import PRESETS

    layout = layout_of(PRESETS["qwen3-0.6b"])
    kvs = [Kv("general.architecture", STRING, layout.architecture), *layout.metadata]
    GgufFile(tmp_path / "m.gguf", kvs, [(t.name, t.shape, 8, 0) for t in layout.tensors]).close()
    code = (
        "import sys; from executorch_ggml.llm.export import *;"
        "export_gguf_to_pte(sys.argv[1], sys.argv[2], GGUFExportConfig(max_seq_len=2048));"
        # Of this program alone: rusage counts what the process was before it became this program, too.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.gguf"), str(tmp_path / "m.pte")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak = int(done.stdout.split()[-1]) * 1024
    assert (tmp_path / "m.pte").stat().st_size < 300_000
    assert peak < 1.5e9
