"""``executorch-ggml run``: text from a model, streamed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from executorch_ggml.errors import InvalidArgumentError

from .answer import show_figures, stream
from .answer_json import answer_dict
from .bench_output import profile_table
from .chat import chat as converse
from .model import Context, Model, open_text_model
from .options import CacheType, DeviceName, Gguf, Threads, echo_err, print_json, progress_bar
from .sampling import MinP, RepeatPenalty, Seed, Temperature, TopK, TopP, chosen_sampling
from .streams import unread_input
from .structured import Grammar, JsonSchema, Regex, structure

_LIMIT = 512


def run(
    model: Model,
    prompt: Annotated[str | None, typer.Argument(help="The text to continue; '-' or nothing reads stdin.")] = None,
    gguf: Gguf = None,
    chat: Annotated[bool, typer.Option("--chat", help="The same as the command `chat`.")] = False,
    system: Annotated[str | None, typer.Option(help="With --chat: system message of the conversation.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", "-n", min=0, help=f"0: until the model ends. [default: {_LIMIT}]")
    ] = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repeat_penalty: RepeatPenalty = None,
    seed: Seed = None,
    stop: Annotated[list[str] | None, typer.Option(help="Ends the answer; may be given more than once.")] = None,
    ignore_end: Annotated[bool, typer.Option("--ignore-end", help="Go on past the model's end tokens.")] = False,
    stats: Annotated[bool, typer.Option(help="Print tokens per second to stderr afterwards.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but the text and errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object when the answer is complete.")] = False,
    logprobs: Annotated[
        int | None,
        typer.Option(min=0, help="With --json: log-probability of each token, and of so many of the most likely."),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print the time of each operation to stderr, too. It slows the run.")
    ] = False,
    json_schema: JsonSchema = None,
    grammar: Grammar = None,
    regex: Regex = None,
    threads: Threads = 0,
    cache_type: CacheType = "f16",
    device: DeviceName = "",
    max_seq_len: Context = None,
) -> None:
    """Continue a prompt."""
    quiet = quiet or as_json
    stats = stats and not quiet
    if logprobs is not None and not as_json:
        raise InvalidArgumentError("--logprobs are part of the JSON: add --json")
    if chat:
        if as_json:
            raise InvalidArgumentError("--json is for one answer; in a conversation, /save writes JSON")
        if profile:
            raise InvalidArgumentError("--profile is of one answer; leave out --chat")
        converse(
            model, prompt, gguf=gguf, system=system, max_tokens=max_tokens, temperature=temperature, top_k=top_k,
            top_p=top_p, min_p=min_p, repeat_penalty=repeat_penalty, seed=seed, stop=stop, ignore_end=ignore_end,
            stats=stats, quiet=quiet, json_schema=json_schema, grammar=grammar, regex=regex, threads=threads,
            cache_type=cache_type, device=device, max_seq_len=max_seq_len,
        )  # fmt: skip
        return
    if system is not None:
        raise InvalidArgumentError("--system is the system message of a conversation: use `chat`, or add --chat")
    form = structure(json_schema, grammar, regex)
    # Late: --help and other commands start without it.
    from executorch_ggml.llm.text.generate import generate
    from executorch_ggml.llm.text.token_loop import TokenLoop

    opened = open_text_model(
        model, gguf, max_seq_len, threads, cache_type, device, quiet=quiet, profile=profile or None
    )
    sampling = chosen_sampling(
        opened.sampling, quiet=quiet, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        repeat_penalty=repeat_penalty, seed=seed,
    )  # fmt: skip
    text = _read(quiet) if prompt in (None, "-") else prompt
    assert text is not None
    if prompt not in (None, "-") and not quiet and unread_input():
        echo_err("[stdin is not read, because a prompt was given; '-' in its place reads stdin]")
    limit = _LIMIT if max_tokens is None else max_tokens or None
    ids = opened.tokenizer.encode(text)
    with progress_bar("reading the prompt") as progress:
        generation = generate(
            opened.program, ids, tokenizer=opened.tokenizer, loop=TokenLoop(opened.program, sampling),
            max_tokens=limit, stop=stop or [], ignore_end=ignore_end, on_progress=progress,
            logprobs=logprobs, **form,
        )  # fmt: skip
        if as_json:
            facts = answer_dict(text, generation, opened.tokenizer)
            operations = {"operations": opened.program.stats().get("ops", [])} if profile else {}
            print_json({**facts, **operations})
            return
        first = next(generation, None)
    typer.echo(text, nl=False)
    stream(generation, first or "")
    if stats:
        show_figures(generation, limit)
    if profile:
        echo_err("\n" + profile_table(opened.program.stats().get("ops", [])))


def _read(quiet: bool) -> str:
    if sys.stdin.isatty() and not quiet:
        echo_err("[type the text to continue; Ctrl-D ends it]")
    return sys.stdin.read()
