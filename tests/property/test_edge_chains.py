"""Random chains at the edges, against eager torch: layouts, integers, indices, limits, hidden rows.

A few run with every ``make test``. The nightly run draws ``EDGE_CHAINS`` chains (default 2,000) for each of the
``EDGE_SEEDS`` (default 1). Ten thousand on two seeds:

    EDGE_CHAINS=10000 EDGE_SEEDS=1,2 python -m pytest -m nightly tests/property/test_edge_chains.py --timeout=0
"""

from __future__ import annotations

import os

import pytest
import torch
from edge_chains import FAMILIES
from edge_indices import campaign_out_of_range
from edge_reference import difference
from edge_run import TOGETHER, campaign

pytestmark = pytest.mark.filterwarnings("ignore")

CHAINS = int(os.environ.get("EDGE_CHAINS", "2000"))
SEEDS = [int(s) for s in os.environ.get("EDGE_SEEDS", "1").split(",")]


def check(family: str, batches: int, seed: int) -> None:
    tally = campaign(family, batches, seed)
    print(tally)
    assert not tally.wrong, str(tally)
    assert tally.drawn == batches * TOGETHER
    assert tally.ran >= 0.75 * tally.drawn, str(tally)
    assert tally.delegated >= 0.3 * tally.batches, str(tally)


def check_out_of_range(batches: int, seed: int) -> None:
    tally = campaign_out_of_range(batches, seed)
    print(tally)
    assert not tally.wrong, str(tally)
    assert tally.raised >= 10 * batches, str(tally)
    assert tally.refused <= batches, str(tally)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_some(family: str) -> None:
    check(family, 3, 1)


def test_some_indices_out_of_range() -> None:
    check_out_of_range(3, 1)


@pytest.mark.nightly
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_many(family: str, seed: int) -> None:
    check(family, -(-CHAINS // (len(FAMILIES) * TOGETHER)), seed)


@pytest.mark.nightly
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_many_indices_out_of_range(seed: int) -> None:
    check_out_of_range(-(-CHAINS // 100), seed)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        ([1.0, 2.0], [1.0, 2.001]),
        ([1e30, 1e-3], [1e30, 2e-3]),  # beside a huge element, too
        ([float("nan"), 1.0], [0.0, 1.0]),
        ([3.4e38], [float("inf")]),
        ([float("-inf")], [float("inf")]),
        ([0.0], [float("nan")]),
    ],
)
def test_a_difference_is_seen(got: list[float], want: list[float]) -> None:
    wanted = torch.tensor(want)
    assert difference(torch.tensor(got), wanted, [wanted.double()])
    assert not difference(wanted.clone(), wanted, [wanted.double()])


def test_an_element_that_rounding_makes_infinite_is_not_judged() -> None:
    want, precise = torch.tensor([float("inf"), 1.0]), torch.tensor([3.4e38, 1.0], dtype=torch.float64)
    assert not difference(torch.tensor([3.4e38, 1.0]), want, [precise])
    assert difference(torch.tensor([3.4e38, 2.0]), want, [precise])
