"""What the random chains have found, each by name."""

from __future__ import annotations

import pytest
import torch
from edge_run import Tally, try_batch
from random_graphs import Chain, Fresh
from run_chains import Tally as Exports
from run_chains import explain, problems, traced

from executorch_ggml.errors import ShapeError

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("line", ["x.flip([1])", "x.flatten(0, 1)", "x.permute(1, 0, 2)"])
def test_a_dynamic_input_is_the_result(line: str) -> None:
    """A graph in which no node reads the input ended the process at the first larger size."""
    x = Fresh("x", (4, 1, "n"), torch.float32, 0, 93, True)
    chains = [Chain(True, [x], [f"v0 = {line}"], "v0")]
    assert not problems(chains)


def test_two_ways_to_write_an_integer_division() -> None:
    """Export writes the length behind a strided convolution with its own division and with sympy's floor."""
    x, w = Fresh("x", (1, 4, "n"), torch.float32, 1, 85, True), Fresh("w1_", (1, 4, 2), torch.float32, 1, 17, False)
    lines = ["v0 = F.conv1d(x, w1_, None, [3], [2], [1], 1)", "v1 = v0.unflatten(1, (1, 1))"]
    chains = [Chain(True, [x, w], lines, "v1")]
    assert not problems(chains)


@pytest.mark.parametrize("line", ["torch.sigmoid(x).select(-1, 1)", "x.abs().index_select(-1, torch.tensor([0, 1]))"])
def test_a_dynamic_size_that_must_be_two(line: str) -> None:
    """The minimum of 2 was taken for a 1 that torch had raised, and the program did not load."""
    x = Fresh("x", (3, "n"), torch.float32, 0, 5, True)
    chain = Chain(True, [x], [f"v0 = {line}"], "v0", low=2)
    assert not problems([chain])


def test_a_dynamic_size_of_one_that_torch_traced_as_two() -> None:
    """What torch traced says 6 elements, of which one has 3: refused, and not to be counted as a fault of ours."""
    x = Fresh("x", (3, "n"), torch.float32, 1, 64, True)
    chain = Chain(True, [x], ["v0 = torch.le(x, -1)", "v1 = v0.flatten(0, 1)", "v2 = v1[-6:99]"], "v2", low=1)
    assert traced(chain).low == 2
    with pytest.raises(ShapeError, match=r"dimension 1 is 1, this graph accepts 2\.\.7"):
        problems([chain])
    tally = Exports()
    assert explain([chain], tally) == ""
    assert tally.ran == 1
    holds = Chain(True, [x], ["v0 = torch.le(x, -1)", "v1 = v0.flatten(0, 1)"], "v1", low=1)
    assert traced(holds) is holds
    assert not problems([holds])


def test_a_sum_of_what_cancels() -> None:
    """Normalised numbers add up to nothing; eager's sum happened to be exactly that, and ours was held to it."""
    x, w = Fresh("x", (5, 1, "n"), torch.float32, 1, 86, True), Fresh("w1_", (1,), torch.float32, 1, 43, False)
    chain = Chain(True, [x, w], ["v0 = torch.group_norm(x, 1, w1_, None, 0.1)", "v1 = v0.sum()"], "v1")
    assert not problems([chain])


@pytest.mark.parametrize("line", ["x.split(3, 1)[-1]", "x.split([1, 3], 1)[0]", "x.chunk(2, -1)[1]"])
def test_a_split_beside_a_dynamic_size(line: str) -> None:
    """torch's decomposition of a split fixed the dynamic size to the example's."""
    x = Fresh("x", ("n", 4, 2, 4), torch.float32, 0, 78, True)
    chain = Chain(True, [x], [f"v0 = {line}"], "v0")
    assert not problems([chain])


def test_a_transposed_kernel_of_one_element() -> None:
    """Turned round, its strides were negative: torch could not store it."""
    x = Fresh("x", (3, 3, 4, 1), torch.float32, 0, 46, True)
    w = Fresh("w", (3, 1, 1, 1), torch.float32, 0, 1, False)
    assert not problems([Chain(False, [x, w], ["v0 = F.conv_transpose2d(x, w, None, 2, 0, 1)"], "v0")])


def test_a_reshape_of_spread_rows() -> None:
    """The new shape needs no stride along its rows, of one element each; ggml wants the old one to have dense rows."""
    x = Fresh("x", (3, 1, 4, 3), torch.float32, 0, 51, True)
    i = Fresh("i", (3,), torch.int64, 1, 2, True)
    w = Fresh("w", (1, 1, 1, 1), torch.float32, 0, 0, False)
    lines = ["v0 = x[:, :, :, i]", "v1 = F.conv_transpose2d(v0, w, None, 1, 0, 0)"]
    assert not problems([Chain(False, [x, i, w], lines, "v1")])


@pytest.mark.parametrize("line", ["v0.reshape([])", "v0.view(())"])
def test_one_element_becomes_a_scalar(line: str) -> None:
    """The search for rotations asked a scalar for its last dimension, and the export ended with an IndexError."""
    x = Fresh("x", ("n", 1), torch.float32, 1, 18, True)
    chain = Chain(True, [x], ["v0 = torch.sum(x, dim=[-2], keepdim=False)", f"v1 = {line}"], "v1")
    assert not problems([chain])


@pytest.mark.parametrize("line", ["x.sum(0)", "x.sum(1, keepdim=True)", "x.sum(-1)", "x.flatten().sum()"])
def test_a_sum_of_large_integers(line: str) -> None:
    """Over one dimension ExecuTorch adds int64 in float32."""
    x = Fresh("x", (2, 3, 4), torch.int64, 1, 3, True, values="wrap")
    tally = Tally()
    try_batch([Chain(False, [x], [f"v0 = {line}"], "v0")], tally)
    assert tally.ran == 1, str(tally)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
@pytest.mark.parametrize("line", ["x // 7", "torch.div(x, 2, rounding_mode='trunc')"])
def test_a_scalar_tensor_divided_by_a_number(dtype: torch.dtype, line: str) -> None:
    """ExecuTorch made the number an int64 tensor, and the result one, too."""
    x = Fresh("x", (), dtype, 1, 18, True, values="wrap")
    tally = Tally()
    try_batch([Chain(False, [x], [f"v0 = {line}"], "v0")], tally)
    assert tally.ran == 1, str(tally)


def test_a_chain_that_torch_does_not_export_is_counted() -> None:
    """It was dropped without a word, and the eleven others of its batch with it."""
    x = Fresh("x", ("n", 3), torch.float32, 0, 5, True)
    fixed = Chain(True, [x], ["v0 = x.view(4, 3) + 1"], "v0")
    fine = Chain(True, [x], ["v0 = torch.exp(x)"], "v0")
    tally = Exports()
    assert explain([fine, fixed, fine], tally) == ""
    assert (tally.ran, tally.unexported.total()) == (2, 1), str(tally)


def test_an_export_that_fails_in_another_way_is_a_failure() -> None:
    x = Fresh("x", ("n", 3), torch.float32, 0, 5, True)
    with pytest.raises(RuntimeError):
        explain([Chain(True, [x], ["v0 = x @ x"], "v0")], Exports())
