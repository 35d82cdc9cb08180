"""An answer as JSON, for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from executorch_ggml.llm.text.generate import Generation
    from executorch_ggml.llm.text.logprobs import TokenLogprob
    from executorch_ggml.llm.text.tokenizer import Tokenizer


def answer_dict(prompt: str, generation: Generation, tokenizer: Tokenizer) -> dict[str, Any]:
    """Runs the generation to its end."""
    text = generation.read()
    stats = generation.stats
    facts: dict[str, Any] = {
        "prompt": prompt,
        "text": text,
        "finish_reason": generation.finish_reason,
        "stop_string": generation.stop_string,
        "prompt_tokens": generation.prompt_tokens,
        "tokens": generation.tokens,
        "stats": {
            **asdict(stats),
            "prompt_tokens_per_second": stats.prompt_tokens_per_second,
            "tokens_per_second": stats.tokens_per_second,
        },
    }
    if generation.logprobs:
        facts["logprobs"] = [_logprob(item, tokenizer) for item in generation.logprobs]
    return facts


def _logprob(item: TokenLogprob, tokenizer: Tokenizer) -> dict[str, Any]:
    def named(token: int, value: float) -> dict[str, Any]:
        return {"token": token, "text": tokenizer.decode([token], special=True), "logprob": value}

    return {**named(item.token, item.logprob), "top": [named(*pair) for pair in item.top]}
