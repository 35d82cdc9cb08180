"""Tables of a program that ExecuTorch reads, calls or writes by without asking: refused when it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pte_edit import calls, constants, edited, host_program
from shared_models import child

from executorch_ggml.errors import FormatError
from executorch_ggml.program import Program

X, POSITIONS = np.ones((2, 8), np.float32), np.arange(2)


@pytest.fixture(scope="module")
def host_pte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return host_program(tmp_path_factory.mktemp("host") / "host.pte")


def add(plan: Any, kind: str, *arguments: int, at: int | None = None) -> None:
    from executorch.exir import schema

    instructions = plan.chains[0].instructions
    new = schema.Instruction(getattr(schema, kind)(*arguments))
    instructions.insert(len(instructions) if at is None else at, new)


def operator(plan: Any) -> None:
    calls(plan, "KernelCall")[0].op_index = len(plan.operators)


def negative_operator(plan: Any) -> None:
    calls(plan, "KernelCall")[-1].op_index = -1


def kernel_argument(plan: Any) -> None:
    calls(plan, "KernelCall")[0].args[0] = len(plan.values)


def delegate(plan: Any) -> None:
    calls(plan, "DelegateCall")[0].delegate_index = 1


def delegate_argument(plan: Any) -> None:
    calls(plan, "DelegateCall")[0].args[-1] = -7


def delegate_result_is_constant(plan: Any) -> None:
    calls(plan, "DelegateCall")[0].args[-1] = constants(plan)[0]


def kernel_result_is_constant(plan: Any) -> None:
    call = calls(plan, "KernelCall")[0]
    call.args[-1] = constants(plan)[0]


def kernel_writes_to_constant(plan: Any) -> None:
    calls(plan, "KernelCall")[0].args[-2] = constants(plan)[0]


def input_is_constant(plan: Any) -> None:
    plan.inputs[1] = constants(plan)[0]


def input_nowhere(plan: Any) -> None:
    plan.inputs[0] = 1000


def output_nowhere(plan: Any) -> None:
    plan.outputs[0] = len(plan.values)


def a_constant_is_moved_to_a_result(plan: Any) -> None:
    add(plan, "MoveCall", constants(plan)[0], calls(plan, "KernelCall")[0].args[-1], at=0)


def moved_from_nowhere(plan: Any) -> None:
    add(plan, "MoveCall", 5000, 0)


def jump_out(plan: Any) -> None:
    add(plan, "JumpFalseCall", 0, 50)


def freed_result(plan: Any) -> None:
    add(plan, "FreeCall", plan.outputs[1])


def freed_before_use(plan: Any) -> None:
    add(plan, "FreeCall", calls(plan, "KernelCall")[1].args[0], at=0)


def outside_its_memory(plan: Any) -> None:
    plan.values[plan.outputs[1]].val.allocation_info.memory_offset_low = 1 << 20


def no_such_memory(plan: Any) -> None:
    plan.values[plan.outputs[1]].val.allocation_info.memory_id = 9


def no_memory_at_all(plan: Any) -> None:
    plan.values[calls(plan, "KernelCall")[0].args[-1]].val.allocation_info = None


def order_of_dimensions(plan: Any) -> None:
    plan.values[plan.outputs[0]].val.dim_order = [0, 0]


def negative_size(plan: Any) -> None:
    plan.values[plan.outputs[0]].val.sizes = [2, -4]


def item_of_a_list(plan: Any) -> None:
    (index,) = [i for i, value in enumerate(plan.values) if type(value.val).__name__ == "TensorList"]
    plan.values[index].val.items[0] = len(plan.values)


EDITS: list[tuple[Callable[[Any], None], str]] = [
    (operator, "calls operator"),
    (negative_operator, "calls operator -1"),
    (kernel_argument, "names value"),
    (delegate, "calls delegate 1 of 1"),
    (delegate_argument, "names value -7"),
    (delegate_result_is_constant, "a constant"),
    (kernel_result_is_constant, "a constant"),
    (kernel_writes_to_constant, "a constant"),
    (input_is_constant, "input 1 is value .*, a constant"),
    (input_nowhere, "input 0 is value 1000"),
    (output_nowhere, "output 0 is value"),
    (a_constant_is_moved_to_a_result, "a constant"),
    (moved_from_nowhere, "names value 5000"),
    (jump_out, "jumps to 50"),
    (freed_result, "frees value"),
    (freed_before_use, "frees value"),
    (outside_its_memory, "does not lie inside its memory"),
    (no_such_memory, "lies in memory 9"),
    (no_memory_at_all, "has no memory"),
    (order_of_dimensions, "no permutation"),
    (negative_size, "-4"),  # ExecuTorch's own
    (item_of_a_list, "TensorList item 0"),
]


@pytest.mark.parametrize("edit, message", EDITS, ids=lambda part: part.__name__ if callable(part) else "")
def test_refused_with_a_reason(host_pte: Path, tmp_path: Path, edit: Callable[[Any], None], message: str) -> None:
    path = edited(host_pte, tmp_path / "edited.pte", edit)
    with pytest.raises(FormatError, match=rf"edited\.pte.*{message}"):
        Program(path, threads=1, methods=["forward"])


def test_the_program_itself_is_right(host_pte: Path, tmp_path: Path) -> None:
    same = edited(host_pte, tmp_path / "same.pte", lambda plan: None)
    for path in (host_pte, same):
        floats, sums, joined, table = Program(path, threads=1)(X, POSITIONS)
        assert floats.shape == (2, 4)
        assert sums.tolist() == [10, 14]
        assert joined.tolist() == [10, 14, 0, 1]
        assert table.tolist() == [10, 11]


def test_a_move_and_a_jump_are_no_damage(host_pte: Path, tmp_path: Path) -> None:
    def edit(plan: Any) -> None:
        add(plan, "MoveCall", plan.outputs[1], plan.outputs[1])

    assert Program(edited(host_pte, tmp_path / "moved.pte", edit), threads=1)(X, POSITIONS)[1].tolist() == [10, 14]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_damage_of_the_tables(host_pte: Path, tmp_path: Path, seed: int) -> None:
    script = Path(__file__).with_name("pte_host_child.py")
    done = child(str(script), str(host_pte), str(tmp_path / "damaged.pte"), "3000", str(seed), timeout=400)
    last = done.stdout.splitlines()[-1:] or ["nothing"]
    assert done.returncode == 0, f"exit {done.returncode} after '{last[0]}'\n{done.stderr[-2000:]}"
    counts = dict(pair.split("=") for pair in last[0].split()[1:])
    assert sum(int(count) for count in counts.values()) == 3000
    assert int(counts["FormatError"]) > 300
    assert int(counts["ok"]) > 300
    assert not {"hang", "no message"} & set(counts)


def test_numbers_at_an_odd_place(host_pte: Path, tmp_path: Path) -> None:
    """Sizes of memories, of 8 bytes each, at a multiple of 4 only, which FlatBuffers' verifier lets pass."""
    from flatbuffers import number_types
    from flatbuffers.table import Table

    data = bytearray(host_pte.read_bytes())

    def follow(place: int) -> int:
        return place + int.from_bytes(data[place : place + 4], "little")

    def field(table: int, number: int) -> int:
        return table + Table(data, table).Offset(4 + 2 * number)

    plans = follow(field(follow(0), 1))
    sizes = field(follow(plans + 4), 8)
    assert Table(data, 0).Get(number_types.Uint32Flags, follow(sizes)) > 1
    data[sizes : sizes + 4] = (int.from_bytes(data[sizes : sizes + 4], "little") + 4).to_bytes(4, "little")
    path = tmp_path / "odd.pte"
    path.write_bytes(data)
    with pytest.raises(FormatError, match="the sizes of memories lie at an odd place"):
        Program(path, threads=1, methods=["forward"])
