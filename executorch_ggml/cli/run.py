"""``executorch-ggml run``: text from a model, streamed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .model import Context, Model, open_text_model
from .options import CacheType, DeviceName, Gguf, Threads, progress_bar
from .streams import model_text

if TYPE_CHECKING:
    from executorch_ggml.llm.text.generate import Generation
    from executorch_ggml.llm.text.token_loop import TokenLoop
    from executorch_ggml.llm.text.tokenizer import Tokenizer
    from executorch_ggml.runtime.program import Program


def run(
    model: Model,
    prompt: Annotated[str | None, typer.Argument(help="The text to continue; '-' or nothing reads stdin.")] = None,
    gguf: Gguf = None,
    chat: Annotated[bool, typer.Option("--chat", help="A conversation, through the model's chat template.")] = False,
    system: Annotated[str | None, typer.Option(help="System message of the conversation.")] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", "-n", min=1, help="Default: until the model ends or the cache is full."),
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the most likely token.")] = 0.0,
    top_k: Annotated[int, typer.Option(min=0, help="Choose among the k most likely; 0 = all.")] = 0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Choose among the most likely that sum to p.")] = 1.0,
    min_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Drop what is this much less likely.")] = 0.0,
    repeat_penalty: Annotated[float, typer.Option(help="Above 1 discourages repetition.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="0 = another one each time.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="Ends the answer; may be given more than once.")] = None,
    ignore_end: Annotated[bool, typer.Option("--ignore-end", help="Go on past the model's end tokens.")] = False,
    stats: Annotated[bool, typer.Option(help="Print tokens per second to stderr afterwards.")] = True,
    threads: Threads = 0,
    cache_type: CacheType = "f16",
    device: DeviceName = "",
    max_seq_len: Context = None,
) -> None:
    """Continue a prompt, or hold a conversation (--chat)."""
    # Late: --help and other commands start without it.
    from executorch_ggml.llm.text.generate import generate
    from executorch_ggml.llm.text.sampling import Sampling
    from executorch_ggml.llm.text.token_loop import TokenLoop

    program, tokenizer = open_text_model(model, gguf, max_seq_len, threads, cache_type, device)
    sampling = Sampling(temperature, top_k, top_p, min_p, repeat_penalty, seed=seed)
    loop = TokenLoop(program, sampling)
    session = _Session(program, tokenizer, loop, max_tokens, stop or [], ignore_end, stats)
    if chat:
        session.converse(system, prompt)
        return
    text = sys.stdin.read() if prompt in (None, "-") else prompt
    assert text is not None
    ids = tokenizer.encode(text)
    with progress_bar("reading the prompt") as progress:
        generation = generate(
            program, ids, tokenizer=tokenizer, loop=loop, max_tokens=max_tokens, stop=stop or [], ignore_end=ignore_end,
            on_progress=progress,
        )  # fmt: skip
        first = next(generation, None)
    typer.echo(text, nl=False)
    session.stream(generation, first or "")


class _Session:
    """The common parts of all answers of one run."""

    def __init__(
        self,
        program: Program,
        tokenizer: Tokenizer,
        loop: TokenLoop,
        max_tokens: int | None,
        stop: list[str],
        ignore_end: bool,
        stats: bool,
    ) -> None:
        self.program, self.tokenizer, self.loop = program, tokenizer, loop
        self.max_tokens, self.stop, self.ignore_end, self.stats = max_tokens, stop, ignore_end, stats

    def stream(self, generation: Generation, first: str = "") -> str:
        """Prints while it is generated. Ctrl-C ends the answer, not the program."""
        typer.echo(model_text(first), nl=False)
        try:
            for piece in generation:
                typer.echo(model_text(piece), nl=False)
                sys.stdout.flush()
        except KeyboardInterrupt:
            generation.close()
        typer.echo("")
        if self.stats:
            typer.echo(f"[{generation.stats}; {generation.finish_reason}]", err=True)
        return generation.text

    def converse(self, system: str | None, prompt: str | None) -> None:
        """Reads user messages until the end of the input. The part in the cache is not run again."""
        # Late: --help and other commands start without it.
        from executorch_ggml.llm.text.generate import generate

        messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
        self.tokenizer.render_chat([*messages, {"role": "user", "content": ""}])  # no template: say so before asking
        interactive = sys.stdin.isatty()
        if interactive and prompt is None:
            typer.echo("/reset begins anew, Ctrl-C ends an answer, Ctrl-D the conversation.", err=True)
        while True:
            text = prompt if prompt not in (None, "-") else _ask(interactive)
            if text is None:
                return
            once, prompt = prompt not in (None, "-"), None
            if text.strip() == "/reset":
                messages = messages[:1] if system else []
                continue
            if not text.strip():
                continue
            messages.append({"role": "user", "content": text})
            generation = generate(
                self.program, messages, tokenizer=self.tokenizer, loop=self.loop, max_tokens=self.max_tokens,
                stop=self.stop, ignore_end=self.ignore_end,
            )  # fmt: skip
            messages.append({"role": "assistant", "content": self.stream(generation)})
            if once and not interactive:
                return


def _ask(interactive: bool) -> str | None:
    try:
        return input("> " if interactive else "")
    except (EOFError, KeyboardInterrupt):
        return None
