"""Random chains of the operators that we claim to run, against eager torch."""

from __future__ import annotations

from typing import Any

import pytest
import words_images  # noqa: F401
import words_movement  # noqa: F401
import words_pointwise  # noqa: F401
import words_sums  # noqa: F401
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_graphs import Chain
from run_chains import Tally, explain
from vocabulary import draw_chain

pytestmark = pytest.mark.filterwarnings("ignore")

TOGETHER, LONGEST = 12, 4


@st.composite
def chains(draw: Any) -> list[Chain]:
    return [draw_chain(draw, LONGEST) for _ in range(TOGETHER)]


def configured(batches: int, derandomize: bool) -> Any:
    # No shrinking: `explain` finds the chain and its first wrong line at a fraction of the cost.
    return settings(
        max_examples=batches,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


def check(batches: int, derandomize: bool, most: int) -> None:
    """most: chains that torch itself may refuse to export."""
    tally = Tally()

    @configured(batches, derandomize)
    @given(chains())
    def each(drawn: list[Chain]) -> None:
        wrong = explain(drawn, tally)
        assert not wrong, wrong

    each()
    print(tally)
    assert tally.drawn == batches * TOGETHER
    assert tally.unexported.total() <= most, str(tally)


def test_some() -> None:
    check(14, True, most=0)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_many() -> None:
    check(400, False, most=144)  # three in a hundred
