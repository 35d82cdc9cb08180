"""``executorch-ggml bench``: speed in llama-bench's form; of a language model, or of any other program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from executorch_ggml.errors import InvalidArgumentError, UnsupportedError

from .bench_measure import Case, Measured, cases_of, measure
from .bench_output import as_csv, as_dicts, markdown, profile_table, subject_of
from .model import Context, Model, graph_of
from .options import AsJson, CacheType, DeviceName, Gguf, echo, echo_err, load_program, print_json

if TYPE_CHECKING:
    from executorch_ggml.runtime.program import Program

_PROMPT, _DECODE = 512, 128


def _list(*names: str, help: str) -> Any:
    return typer.Option(*names, help=f"{help} Several: 1,2 or the option again.", show_default=False)


def bench(
    model: Model,
    gguf: Gguf = None,
    n_prompt: Annotated[
        list[str] | None, _list("--n-prompt", "-p", "--prompt-len", help=f"Tokens of a prompt. [default: {_PROMPT}]")
    ] = None,
    n_gen: Annotated[
        list[str] | None, _list("--n-gen", "-n", "--n-decode", help=f"Tokens to decode. [default: {_DECODE}]")
    ] = None,
    depth: Annotated[list[str] | None, _list("--depth", help="Tokens in the cache before that.")] = None,
    threads: Annotated[
        list[str] | None, _list("--threads", "-t", help="Compute threads; 0 = physical cores available.")
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", "-r", min=1, help="Timed repetitions.")] = 5,
    warmup: Annotated[int, typer.Option(min=0, help="Repetitions before them.")] = 1,
    logits: Annotated[
        Literal["argmax", "full"],
        typer.Option(help="argmax: the token alone leaves the library; full: all logits are copied to Python."),
    ] = "argmax",
    method: Annotated[str, typer.Option(help="Of a program that is no language model.")] = "forward",
    output: Annotated[Literal["md", "csv", "json"], typer.Option("--output", "-o", help="Form of the result.")] = "md",
    cache_type: CacheType = "f16",
    device: DeviceName = "",
    max_seq_len: Context = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print the time of each operation to stderr, too. It slows the run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure tokens in a second: mean and standard deviation. Other programs are called with random inputs."""
    asked = {"n_prompt": n_prompt, "n_gen": n_gen, "depth": depth}
    numbers = {name: _numbers(name, values) for name, values in asked.items() if values}
    form = "json" if as_json else output
    pte, weights = graph_of(model, gguf, max_seq_len, quiet=form != "md")
    rows: list[Measured] = []
    operations: list[dict[str, Any]] = []
    for count in _numbers("threads", threads or ["0"]):
        program = load_program(pte, weights, count, cache_type, device, [] if method != "forward" else None, profile)
        with program:
            for case in _cases(program, method, numbers):
                rows.append(measure(program, case, repeat, warmup, logits == "full"))
            operations = program.stats().get("ops", [])
    subject = subject_of(pte, weights)
    if form == "json":
        print_json(as_dicts(subject, rows))
    else:
        echo(markdown(subject, rows) if form == "md" else as_csv(subject, rows))
    if profile:
        echo_err("\n" + profile_table(operations))


def _cases(program: Program, method: str, numbers: dict[str, list[int]]) -> list[Case]:
    # Late: --help and other commands start without it.
    from executorch_ggml.llm.text.generate import cache_size
    from executorch_ggml.llm.text.token_loop import TokenLoop

    try:
        if method != "forward":
            raise UnsupportedError(f"{method} is another method")
        TokenLoop(program).close()
    except UnsupportedError as error:
        if numbers:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in numbers)
            raise InvalidArgumentError(f"{options}: only a language model has tokens, and {error}") from None
        return [Case(method=method)]
    room = cache_size(program)
    depths = numbers.get("depth", [0])
    # Defaults shrink to the room of a small graph; a number that was given is taken as it is.
    left = None if room is None else max(1, room - max(depths))
    prompts = numbers.get("n_prompt", [_PROMPT if left is None else min(_PROMPT, left)])
    gens = numbers.get("n_gen", [_DECODE if left is None else max(1, min(_DECODE, left - 2))])
    tests = cases_of(prompts, gens, depths)
    if not tests:
        raise InvalidArgumentError("--n-prompt 0 with --n-gen 0 leaves nothing to measure")
    return tests


def _numbers(name: str, values: list[str]) -> list[int]:
    texts = [text.strip() for value in values for text in value.split(",")]
    if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in texts):
        raise InvalidArgumentError(f"--{name.replace('_', '-')} {','.join(values)}: these must be numbers, such as 1,2")
    return list(map(int, texts))
