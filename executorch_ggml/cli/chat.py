"""``executorch-ggml chat``: a conversation, through the model's chat template."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from executorch_ggml.errors import FormatError, GgmlError
from executorch_ggml.errors.files import open_regular

from .answer import ending, show_figures, stream
from .chat_commands import Leave, command, set_thinking
from .chat_input import open_reader
from .model import Context, Model, TextModel, open_text_model
from .options import CacheType, DeviceName, Gguf, Threads, echo_err
from .sampling import MinP, RepeatPenalty, Seed, Temperature, TopK, TopP, chosen_sampling
from .structured import Grammar, JsonSchema, Regex, Structure, structure

if TYPE_CHECKING:
    from executorch_ggml.llm.text.conversation import Conversation
    from executorch_ggml.llm.text.sampling import Sampling

_LIMIT = 2048


def chat(
    model: Model,
    prompt: Annotated[str | None, typer.Argument(help="The first message; '-' or nothing: read it.")] = None,
    gguf: Gguf = None,
    system: Annotated[str | None, typer.Option(help="System message of the conversation.")] = None,
    chat_template: Annotated[
        Path | None, typer.Option("--chat-template", metavar="FILE", help="A Jinja template, instead of the GGUF's.")
    ] = None,
    load: Annotated[
        Path | None,
        typer.Option("--load", metavar="FILE", help="Go on with a conversation that /save wrote.", show_default=False),
    ] = None,
    think: Annotated[
        bool | None,
        typer.Option("--think/--no-think", help="Where the template has that switch.", show_default=False),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", "-n", min=0, help=f"Of an answer; 0: until the model ends. [default: {_LIMIT}]"),
    ] = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repeat_penalty: RepeatPenalty = None,
    seed: Seed = None,
    stop: Annotated[list[str] | None, typer.Option(help="Ends an answer; may be given more than once.")] = None,
    ignore_end: Annotated[bool, typer.Option("--ignore-end", help="Go on past the model's end tokens.")] = False,
    stats: Annotated[bool, typer.Option(help="Print tokens per second to stderr after each answer.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but the answers and errors.")] = False,
    json_schema: JsonSchema = None,
    grammar: Grammar = None,
    regex: Regex = None,
    threads: Threads = 0,
    cache_type: CacheType = "f16",
    device: DeviceName = "",
    max_seq_len: Context = None,
) -> None:
    """Hold a conversation. /help lists the commands in it."""
    # Late: --help and other commands start without it.
    from executorch_ggml.llm.text.conversation import Conversation

    template, form = _template(chat_template), structure(json_schema, grammar, regex)
    opened = open_text_model(model, gguf, max_seq_len, threads, cache_type, device, quiet=quiet)
    sampling = chosen_sampling(
        opened.sampling, quiet=quiet, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        repeat_penalty=repeat_penalty, seed=seed,
    )  # fmt: skip
    conversation = Conversation(opened.tokenizer, system=system, template=template, positions=opened.positions)
    if load is not None:
        conversation.load(load)
        if system is not None:
            conversation.system = system
    if think is not None:
        set_thinking(conversation, think)
    limit = _LIMIT if max_tokens is None else max_tokens or None
    talk = _Talk(opened, sampling, conversation, limit, stop or [], ignore_end, stats and not quiet, quiet, form)
    talk.run(None if prompt == "-" else prompt)


def _template(path: Path | None) -> str:
    if path is None:
        return "default"
    with open_regular(path) as file:
        source = file.read().decode("utf-8", "replace")
    if "{{" not in source and "{%" not in source:
        raise FormatError(f"{path}: this is no chat template: it has neither {{{{ }}}} nor {{% %}}")
    return source


class _Talk:
    """Questions and answers until the end of the input. The part in the cache is not run again."""

    def __init__(
        self, opened: TextModel, sampling: Sampling, conversation: Conversation, limit: int | None, stop: list[str],
        ignore_end: bool, stats: bool, quiet: bool, form: Structure,
    ) -> None:  # fmt: skip
        # Late: --help and other commands start without it.
        from executorch_ggml.llm.text.token_loop import TokenLoop

        self.opened, self.conversation = opened, conversation
        self.loop = TokenLoop(opened.program, sampling)
        self.form = form
        self.limit, self.stop, self.ignore_end, self.stats, self.quiet = limit, stop, ignore_end, stats, quiet

    def run(self, first: str | None) -> None:
        interactive = sys.stdin.isatty()
        if first is not None:
            self.answer(first)
            if not interactive:
                return
        elif interactive and not self.quiet:
            echo_err("[/help lists the commands, Ctrl-C ends an answer, Ctrl-D the conversation]")
        read = open_reader()
        while True:
            try:
                text = read("> ")
                if text.strip() and not command(text, self.conversation):
                    self.answer(text)
            except (EOFError, Leave):
                return
            except KeyboardInterrupt:
                if not interactive:
                    raise
                echo_err("\n[Ctrl-D or /exit leaves]")

    def answer(self, text: str) -> None:
        """One turn. An error is said; the question is taken back and the conversation goes on."""
        # Late: --help and other commands start without it.
        from executorch_ggml.llm.text.generate import generate

        try:
            if dropped := self.conversation.ask(text):
                echo_err(f"[the context is full: the oldest {dropped} messages were dropped]")
            generation = generate(
                self.opened.program, self.conversation.prompt(), tokenizer=self.opened.tokenizer, loop=self.loop,
                max_tokens=self.limit, stop=self.stop, ignore_end=self.ignore_end,
                **self.form,
            )  # fmt: skip
            stream(generation)
        except GgmlError as error:
            self.conversation.withdraw()
            if not sys.stdin.isatty():
                raise
            echo_err(f"error: {error}")
            return
        self.conversation.answered(generation.text)
        if self.stats:
            show_figures(generation, self.limit)
        elif not self.quiet and generation.finish_reason != "stop":
            echo_err(f"[{ending(generation, self.limit)}]")
