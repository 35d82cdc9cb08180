"""Random modules with mutable buffers, call after call, against eager torch."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_states import Machine, draw_machine
from run_states import METHODS, explain

pytestmark = pytest.mark.filterwarnings("ignore")

TOGETHER, CALLS = 5, 9


@st.composite
def drawn_machines(draw: Any) -> tuple[list[Machine], list[int]]:
    calls = [draw(st.integers(-1, METHODS - 1)) for _ in range(CALLS)]
    return [draw_machine(draw) for _ in range(TOGETHER)], calls


def configured(batches: int, derandomize: bool) -> Any:
    # No shrinking: `explain` finds the module at a fraction of the cost.
    return settings(
        max_examples=batches,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


def check(drawn: tuple[list[Machine], list[int]]) -> None:
    wrong = explain(*drawn)
    assert not wrong, wrong


@configured(4, True)
@given(drawn_machines())
def test_some(drawn: tuple[list[Machine], list[int]]) -> None:
    check(drawn)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@configured(100, False)
@given(drawn_machines())
def test_many(drawn: tuple[list[Machine], list[int]]) -> None:
    check(drawn)
