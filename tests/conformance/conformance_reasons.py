"""Tests of the suite that may pass without a delegated operator, each with its reason. Anything else must delegate."""

from __future__ import annotations

_FLOOR = (
    "torch rounds a quotient down by its exact remainder (1.0 // 0.1 is 9, not 10). ggml has no remainder, and F32 "
    "does not hold every integer"
)

UNDELEGATED: dict[str, str] = {
    "test_div::test_divide_f32_floor": _FLOOR,
    "test_floor_divide::test_floor_divide_scalar_divisors": _FLOOR,
    "test_floor_divide::test_floor_divide_shapes": _FLOOR,
    "test_floor_divide::test_floor_divide_tensor_divisors": _FLOOR,
    "test_floor_divide::test_floor_divide_values": _FLOOR,
    "test_mean::test_mean_output_dtype": "means in float64 and of integers: F32 would round them",
}
