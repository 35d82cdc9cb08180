"""A family of its own for these tests: blocks of attention, and blocks that look at the last token alone.

The state of the second kind is a summary of the sequence. It cannot go back, so whoever goes back runs it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import MAX_SEQ_LEN, prompt
from torch import Tensor

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.errors import CancelledError, InvalidArgumentError, UnsupportedError
from executorch_ggml.llm.decoder import ARCHITECTURES, Block, Place, build_decoder, load_dequantized, read_header
from executorch_ggml.llm.decoder.attention import AttentionBlock
from executorch_ggml.llm.decoder.config import ROPE_NEOX
from executorch_ggml.llm.decoder.family import Family
from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
from executorch_ggml.llm.module import GGUFModule
from executorch_ggml.llm.text.token_loop import TokenLoop
from executorch_ggml.runtime import _abi, _load
from executorch_ggml.runtime._watch import WatchCallback, WatchedValue
from tests.support.gguf_layouts import Shape
from tests.support.gguf_presets import TINY
from tests.support.make_gguf import write_gguf


class Shift(Block):
    """Mixes in the token before."""

    def add_mixer(self, place: Place) -> None:
        self.add_linear(place, "attn_v", self.config.width, self.config.width)
        self.add_summary("last", 1, self.config.width)

    def mix(self, x: Tensor, positions: Tensor, factors: Tensor | None) -> Tensor:
        padded = torch.cat((self.summary("last", positions), x), dim=1)
        self.last.copy_(padded[:, -1:])
        shifted = padded[:, :-1]
        output: Tensor = self.attn_v(shifted[:, -1:] if self.last_only else shifted)
        return output


class Wrong(Block):
    """Declares a cache of positions, and reads it otherwise than attention does."""

    def add_mixer(self, place: Place) -> None:
        self.add_linear(place, "attn_v", self.config.width, self.config.width)
        self.add_rows("last", self.config.width)

    def mix(self, x: Tensor, positions: Tensor, factors: Tensor | None) -> Tensor:
        before = self.last[:, :1]
        self.last.index_copy_(1, positions, x)
        output: Tensor = self.attn_v((x + before)[:, -1:] if self.last_only else x + before)
        return output


class Shifting(Family):
    other: type[Block] = Shift

    def blocks(self, places: Sequence[Place]) -> list[Block]:
        return [AttentionBlock(place) if place.index == 1 else self.other(place) for place in places]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """(gguf, pte) of the family above."""
    folder = tmp_path_factory.mktemp("shift")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "shift", Shifting("shift", rope_mode=ROPE_NEOX))
        patch.setitem(TINY, "shift", Shape("shift", layers=3))
        (gguf,) = write_gguf(folder / "m.gguf", arch="shift", type="f32")
        export_gguf_to_pte(gguf, folder / "m.pte", GGUFExportConfig(max_seq_len=MAX_SEQ_LEN))
        yield gguf, folder / "m.pte"


def eager(gguf: Path, ids: np.ndarray) -> np.ndarray:
    header = read_header(gguf)
    decoder = load_dequantized(build_decoder(header, MAX_SEQ_LEN, full_logits=True), header)
    with torch.no_grad():
        return decoder(torch.from_numpy(ids), torch.arange(ids.shape[1]))[0].numpy()


def fresh(model: tuple[Path, Path], tokens: list[int], count: int) -> list[int]:
    """The next tokens, chosen by a program that has run nothing else."""
    with GGUFModule(model[1], model[0], cache_type="f32", threads=1) as module:
        loop = TokenLoop(module.program)
        loop.feed(tokens)
        return [loop.next() for _ in range(count)]


def test_calls_in_order(model: tuple[Path, Path]) -> None:
    gguf, pte = model
    ids = prompt(32)
    want = eager(gguf, ids)
    with GGUFModule(pte, gguf, cache_type="f32", threads=1) as module:
        # The second sequence begins at position 0, without a reset.
        for chunks in ([32], [1] * 8, [7, 1, 3, 21]):
            at = 0
            for n in chunks:
                (logits,) = module.forward(ids[:, at : at + n], np.arange(at, at + n))
                at += n
                assert nmse(logits[0, 0], want[at - 1]) <= 1e-9
        kinds = {state["name"]: state["kind"] for state in module.program.info()["states"]}
        assert kinds["blk.0.last"] == kinds["blk.2.last"] == "state"
        assert kinds["blk.1.k_cache"] == kinds["blk.1.v_cache"] == "kv_cache"


def test_calls_out_of_order_are_refused(model: tuple[Path, Path]) -> None:
    gguf, pte = model
    ids = prompt(8)
    with GGUFModule(pte, gguf, cache_type="f32", threads=1) as module:
        with pytest.raises(InvalidArgumentError, match=r"positions \[3\] .* cannot go back: .* start at 0$"):
            module.forward([[1]], [3])
        module.forward(ids, np.arange(8))
        for positions in ([2], [9], [7]):
            with pytest.raises(InvalidArgumentError, match="start at 0 or at 8, the end"):
                module.forward([[1]], positions)
        with pytest.raises(InvalidArgumentError, match="consecutive"):
            module.forward([[1, 2]], [8, 10])
        module.forward([[1]], [8])
        TokenLoop(module.program).feed([1, 2, 3])
        with pytest.raises(InvalidArgumentError, match=r"start at 0$"):
            module.forward([[1]], [9])
        module.reset()
        with pytest.raises(InvalidArgumentError):
            module.forward([[1]], [9])
        (logits,) = module.forward(ids, np.arange(8))
        assert nmse(logits[0, 0], eager(gguf, ids)[7]) <= 1e-9


def test_going_back_gives_the_tokens_of_a_fresh_sequence(model: tuple[Path, Path]) -> None:
    gguf, pte = model
    start = [int(t) for t in prompt(12)[0]]
    with GGUFModule(pte, gguf, cache_type="f32", threads=1) as module:
        loop = TokenLoop(module.program, max_chunk=5)
        loop.feed(start)
        first = [loop.next() for _ in range(6)]
        assert first == fresh(model, start, 6)
        loop.rewind(7)
        assert [loop.next() for _ in range(6)] == fresh(model, start[:7], 6)
        loop.rewind(5)
        loop.feed([9, 8])
        assert [loop.next() for _ in range(6)] == fresh(model, [*start[:5], 9, 8], 6)
        # Two loops on one program, in turn.
        other = TokenLoop(module.program)
        other.feed([4, 4])
        assert [other.next(), other.next()] == fresh(model, [4, 4], 2)
        loop.rewind(5)
        assert [loop.next(), loop.next()] == fresh(model, start[:5], 2)


def test_calls_that_were_cancelled_leave_no_wrong_token(model: tuple[Path, Path]) -> None:
    """A call that ends early has moved some states and not others. States are written by the last nodes."""
    gguf, pte = model
    start = [int(t) for t in prompt(12)[0]]
    want = fresh(model, start, 4)
    library = _load.library()
    seen, last, cancelled = 0, 0, 0
    with GGUFModule(pte, gguf, cache_type="f32", threads=1) as module:
        loop = TokenLoop(module.program)

        def stop(value: WatchedValue) -> None:
            nonlocal seen
            seen += 1
            if seen == last:
                loop.cancel()

        def watched() -> list[int]:
            """The next token of a call that ends after the value `last`, or none."""
            nonlocal seen, cancelled
            seen = 0
            callback = WatchCallback(stop)
            handle = module.program.handle.pointer
            _load.check(library.etggml_program_watch(handle, callback.c, None))
            try:
                return [loop.next()]
            except CancelledError:
                cancelled += 1
                return []
            finally:
                _load.check(library.etggml_program_watch(handle, _abi.ValueFn(0), None))
                callback.check()

        loop.feed(start)
        loop.next()
        watched()
        for last in range(max(1, seen - 10), seen + 1):
            loop.rewind(0)
            loop.feed(start)
            found = [loop.next(), *watched()]
            found += [loop.next() for _ in range(4 - len(found))]
            assert found == want, f"ended after value {last} of {seen}"
    assert cancelled > 3


def test_a_new_sequence_does_not_read_what_an_earlier_one_left(model: tuple[Path, Path]) -> None:
    gguf, _ = model
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "shift", Shifting("shift", rope_mode=ROPE_NEOX))
        header = read_header(gguf)
        decoder = build_decoder(header, MAX_SEQ_LEN)
    load_dequantized(decoder, header)
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        want = decoder(ids, torch.arange(3))
        for block in decoder.modules():
            if isinstance(block, Shift):
                block.last.fill_(torch.nan)
        assert torch.equal(decoder(ids, torch.arange(3)), want)


def test_the_declared_kind_is_that_of_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shifting, "other", Wrong)
    monkeypatch.setitem(ARCHITECTURES, "shift", Shifting("shift", rope_mode=ROPE_NEOX))
    monkeypatch.setitem(TINY, "shift", Shape("shift", layers=2))
    (gguf,) = write_gguf(tmp_path / "m.gguf", arch="shift", type="f32")
    with pytest.raises(UnsupportedError, match=r"blk\.0\.last .* as 'positions', but was lowered as 'sequence'"):
        export_gguf_to_pte(gguf, tmp_path / "m.pte", GGUFExportConfig(max_seq_len=16))
    assert not (tmp_path / "m.pte").exists()


def test_the_report_names_other_states(model: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with GGUFModule(model[1], model[0], threads=1) as module:
        module.print_info()
    rows = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.replace("other states", "other").splitlines()
    )
    assert "0.0 MB" in rows["other"]
    assert "KV" in rows
