"""``executorch-ggml bench``: prompt and decode speed, as benchmark_llm measures it, through Python."""

from __future__ import annotations

import statistics
import time
from typing import Annotated, Literal

import typer

from executorch_ggml.errors.tables import table

from .model import Context, Model, graph_of
from .options import AsJson, CacheType, DeviceName, Gguf, Threads, echo, load_program, print_json


def bench(
    model: Model,
    gguf: Gguf = None,
    n_decode: Annotated[int, typer.Option(min=0, help="Tokens to decode in each repetition.")] = 128,
    prompt_len: Annotated[int, typer.Option(min=1, help="Tokens of the prompt.")] = 5,
    depth: Annotated[int, typer.Option(min=0, help="Tokens in the cache before the prompt.")] = 0,
    repeat: Annotated[int, typer.Option(min=1, help="Timed repetitions.")] = 3,
    warmup: Annotated[int, typer.Option(min=0, help="Repetitions before them.")] = 1,
    logits: Annotated[
        Literal["argmax", "full"],
        typer.Option(help="argmax: the token alone leaves the library; full: all logits are copied to Python."),
    ] = "argmax",
    threads: Threads = 0,
    cache_type: CacheType = "f16",
    device: DeviceName = "",
    max_seq_len: Context = None,
    as_json: AsJson = False,
) -> None:
    """Measure tokens per second: median and spread of the repetitions."""
    # Late: --help and other commands start without it.
    from executorch_ggml.llm.text.token_loop import TokenLoop

    pte, gguf = graph_of(model, gguf, max_seq_len, quiet=as_json)
    program = load_program(pte, gguf, threads, cache_type, device)
    loop = TokenLoop(program)
    rates: dict[str, list[float]] = {"prompt": [], "decode": []}

    def tokens(count: int) -> list[int]:
        return [1 + i % 100 for i in range(count)]  # speed does not depend on which they are

    for repetition in range(warmup + repeat):
        loop.rewind(0)
        if depth:
            loop.feed(tokens(depth))
        start = time.perf_counter()
        loop.feed(tokens(prompt_len))
        prompt = time.perf_counter() - start
        decode = 0.0
        if n_decode:
            loop.next()  # chosen from the prompt's logits: no run of the model
            start = time.perf_counter()
            for _ in range(n_decode):
                loop.next()
                if logits == "full":
                    loop.logits()
            decode = time.perf_counter() - start
        if repetition >= warmup:
            rates["prompt"].append(prompt_len / prompt)
            if n_decode:
                rates["decode"].append(n_decode / decode)

    summary = {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
        for name, values in rates.items()
        if values
    }
    info = program.info()
    if as_json:
        print_json(
            {
                "model": str(pte),
                "gguf": str(gguf) if gguf else None,
                "device": info["device"],
                "threads": info["threads"],
                "cache_type": info["cache_type"],
                "logits": logits,
                "prompt_len": prompt_len,
                "n_decode": n_decode,
                "depth": depth,
                "repeat": repeat,
                **{f"{name}_tok_s": values for name, values in summary.items()},
                "stats": program.stats(),
            }
        )
        return
    echo(f"{info['device']}, {info['threads']} threads, cache {info['cache_type']}, depth {depth}, logits: {logits}")
    rows = [
        (name, count, *(f"{summary[name][value]:.2f}" for value in ("median", "min", "max")))
        for name, count in (("prompt", prompt_len), ("decode", n_decode))
        if name in summary
    ]
    echo(table(rows, ("", "tokens", "median tok/s", "lowest", "highest"), right=(1, 2, 3, 4)))
