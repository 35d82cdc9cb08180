"""Sizes of real checkpoints, and one tiny size of each architecture for tests.

The tiny sizes keep what makes an architecture special (heads that do not multiply to the width, layers enough to meet
every kind of layer, grouped queries) and row lengths divisible by 256, so that every quantisation fits.
"""

from __future__ import annotations

from functools import partial

from tests.support.gguf_layouts import HEAD_DIM, Shape

# What the converter writes for an architecture, whatever its size.
_qwen2 = partial(Shape, "qwen2", absent=(*HEAD_DIM, "rope.dimension_count"), biases=True)
_qwen3 = partial(Shape, "qwen3", absent=("rope.dimension_count",))
_qwen3moe = partial(Shape, "qwen3moe", absent=("rope.dimension_count",))
_llama = partial(Shape, "llama", absent=("expert_feed_forward_length",))
_gemma3 = partial(Shape, "gemma3", absent=("rope.dimension_count",))
_phi3 = partial(Shape, "phi3", absent=HEAD_DIM, fuse_qkv=True, fuse_gate=True)
_smollm3 = partial(Shape, "smollm3", absent=HEAD_DIM)

# name: shape; a size a line or two
# fmt: off
PRESETS: dict[str, Shape] = {
    "qwen3-0.6b": _qwen3(28, 1024, 3072, 16, 8, 128, 151936, 40960, 1e6, 1e-6, label="0.6B"),
    "qwen3-4b": _qwen3(36, 2560, 9728, 32, 8, 128, 151936, 40960, 1e6, 1e-6, label="4B"),
    "qwen3-8b": _qwen3(36, 4096, 12288, 32, 8, 128, 151936, 40960, 1e6, 1e-6, tied=False, label="8B"),
    "qwen2.5-0.5b": _qwen2(24, 896, 4864, 14, 2, 64, 151936, 32768, 1e6, 1e-6, label="0.5B"),
    "llama-3.2-1b": _llama(
        16, 2048, 8192, 32, 8, 64, 128256, 131072, 5e5, 1e-5,
        rope="llama3", rope_factor=32.0, rope_original=8192, label="1B",
    ),
    "mistral-7b": _llama(32, 4096, 14336, 32, 8, 128, 32768, 32768, 1e6, 1e-5, tied=False, label="7B"),
    "gemma3-1b": _gemma3(26, 1152, 6912, 4, 1, 256, 262144, 32768, 1e6, 1e-6, window=512, theta_swa=1e4, label="1B"),
    "phi3-mini-4k": _phi3(32, 3072, 8192, 32, 32, 96, 32064, 4096, 1e4, 1e-5, tied=False, window=2047, label="3.8B"),
    "phi3-mini-128k": _phi3(
        32, 3072, 8192, 32, 32, 96, 32064, 131072, 1e4, 1e-5, tied=False, window=262144,
        rope="longrope", rope_factor=32.0, rope_original=4096, label="3.8B",
    ),
    "smollm3-3b": _smollm3(36, 2048, 11008, 16, 4, 128, 128256, 65536, 5e6, 1e-6, label="3B"),
    "qwen3-30b-a3b": _qwen3moe(
        48, 2048, 6144, 32, 4, 128, 151936, 40960, 1e6, 1e-6, tied=False,
        experts=128, experts_used=8, expert_ff=768, label="30B-A3B",
    ),
}
# fmt: on

TINY: dict[str, Shape] = {
    # 4 heads of 128 on a width of 256: head_dim is not width / heads, as in Qwen3-0.6B.
    "qwen3": _qwen3(heads=4, kv_heads=2, head_dim=128, theta=1e6),
    "qwen2": _qwen2(theta=1e6),
    "llama": _llama(theta=5e5, eps=1e-5, tied=False, rope="llama3", rope_factor=8.0, rope_original=64, context=512),
    "mistral": _llama(theta=1e6, eps=1e-5, tied=False),  # filed under "llama", without a sliding window
    # YaRN, with a multiplier that cancels its magnitude, and attention that sharpens far away.
    "mistral3": Shape(
        "mistral3", theta=1e6, eps=1e-5, tied=False, rope="yarn", rope_factor=16.0, rope_original=256, context=4096,
        extra={
            "rope.scaling.yarn_beta_fast": 32.0, "rope.scaling.yarn_beta_slow": 1.0,
            "rope.scaling.yarn_log_multiplier": 1.0, "attention.temperature_scale": 0.1,
        },
    ),
    # 7 layers: five local ones, a global one, a local one again.
    "gemma3": _gemma3(layers=7, theta=1e6, theta_swa=1e4, window=16, kv_heads=1),
    # A convolution first and last, attention in the middle.
    "lfm2": Shape(
        "lfm2", layers=3, theta=1e6, eps=1e-5, absent=(*HEAD_DIM, "rope.dimension_count"),
        extra={"attention.head_count_kv": [0, 2, 0], "shortconv.l_cache": 3},
    ),
    "phi3": _phi3(eps=1e-5, tied=False, window=2047, kv_heads=4),
    # 5 layers: the fourth has no rotation.
    "smollm3": _smollm3(layers=5, theta=5e6),
    "qwen3moe": _qwen3moe(head_dim=128, theta=1e6, tied=False, experts=8, experts_used=3, expert_ff=256),
}  # fmt: skip


def resolve(arch: str, size: str) -> Shape:
    """The shape of a preset ("qwen3-0.6b") or of (name in TINY, "tiny").

    Raises ValueError naming the known ones.
    """
    if size in PRESETS:
        if arch not in ("", PRESETS[size].architecture):
            raise ValueError(f"preset {size!r} is of architecture {PRESETS[size].architecture!r}, not {arch!r}")
        return PRESETS[size]
    if size == "tiny" and arch in TINY:
        return TINY[arch]
    raise ValueError(f"no size {size!r} of {arch!r}; sizes: tiny of {sorted(TINY)}, presets {sorted(PRESETS)}")
