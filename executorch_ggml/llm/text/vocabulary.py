"""The vocabulary of a GGUF file: its tokens, their types and the ids with a meaning, read strictly from the metadata.

The keys are those of the GGUF specification (``tokenizer.ggml.*``). llama.cpp decides the defaults of absent keys, and
the token texts that end a generation, because existing files rely on them.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executorch_ggml.errors import FormatError, UnsupportedError

from .metadata import flag, float_array, integer, integer_array, string, string_array
from .pretokenizers import DEFAULT, PRE_TOKENIZERS, PreTokenizer

log = logging.getLogger(__name__)

# token types, as stored in tokenizer.ggml.token_type
UNDEFINED, NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(7)

SPM_MODELS = frozenset({"llama"})
BPE_MODELS = frozenset({"gpt2", "gemma4"})
_OTHER_MODELS = {
    "bert": "WordPiece (BERT)",
    "t5": "Unigram (T5)",
    "rwkv": "RWKV",
    "plamo2": "PLaMo-2",
    "hybriddna": "hybrid DNA k-mers",
    "whitespace": "whitespace",
    "none": "no vocabulary",
    "no_vocab": "no vocabulary",
}

# Texts of tokens that end a turn or a text. GGUF names one eos (and sometimes one eot); chat models stop on several.
_END_TEXTS = frozenset(
    [
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
        "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
        "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "[e~[",
    ]
)  # fmt: skip
# Fill-in-the-middle separators also end a generation: what follows them belongs to another file.
_FIM_END_TEXTS = frozenset(
    [
        "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]", "<|fim_repo|>", "<|repo_name|>", "<fim-repo>",
        "<REPO>", "<reponame>", "<|file_sep|>",
    ]
)  # fmt: skip
# Parts of gpt-oss' channel format: always visible, never an end.
_ALWAYS_SHOWN = frozenset(["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"])


@dataclass(frozen=True)
class Vocabulary:
    """What encoding and decoding need.

    ``tokens[i]`` is the text of id ``i`` as stored (byte-level BPE texts are in GPT-2's byte alphabet), ``types[i]``
    one of the module's constants, ``scores[i]`` the merge score (SPM; zeros elsewhere). Ids are ``None`` when the
    file does not define them. ``end_ids``: every id that ends a generation.
    """

    model: str
    pre: PreTokenizer
    tokens: list[str]
    types: list[int]
    scores: list[float]
    merges: list[tuple[str, str]]
    ids: dict[str, int]
    bos_id: int | None
    eos_id: int | None
    eot_id: int | None
    unk_id: int | None
    pad_id: int | None
    add_bos: bool
    add_eos: bool
    add_space_prefix: bool
    end_ids: frozenset[int]
    strip_right: frozenset[int] = field(default_factory=frozenset)
    strip_left: frozenset[int] = field(default_factory=frozenset)

    @property
    def is_spm(self) -> bool:
        return self.model in SPM_MODELS

    def special_ids(self) -> list[int]:
        """Ids whose text is matched as a whole before anything else: control, unknown and user-defined tokens."""
        return [i for i, kind in enumerate(self.types) if kind in (CONTROL, USER_DEFINED, UNKNOWN)]

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Vocabulary:
        """Reads and checks the ``tokenizer.ggml.*`` keys.

        Ids out of range are ignored, with a warning. Raises `FormatError` for missing keys, arrays of different
        lengths, wrong element types and duplicate tokens; `UnsupportedError` for a tokenizer model or
        pre-tokenizer not known here.
        """
        model = string(metadata, "tokenizer.ggml.model")
        if model is None:
            raise FormatError("the GGUF has no tokenizer: the key tokenizer.ggml.model is missing")
        if model not in SPM_MODELS | BPE_MODELS:
            kind = _OTHER_MODELS.get(model, "unknown")
            raise UnsupportedError(
                f"tokenizer.ggml.model {model!r} ({kind}) is not supported; supported: 'gpt2' and 'gemma4' (BPE), "
                "'llama' (SentencePiece). Pass token ids instead of text."
            )
        spm = model in SPM_MODELS
        pre = DEFAULT if spm else _pre_tokenizer(metadata, model)

        tokens = _tokens(metadata)
        n = len(tokens)
        types = integer_array(metadata, "tokenizer.ggml.token_type", n, default=NORMAL)
        if types and not 0 <= min(types) <= max(types) <= BYTE:
            # a type of a newer converter: neither text nor control, so it is shown as nothing
            types = [kind if 0 <= kind <= BYTE else UNDEFINED for kind in types]
        scores = float_array(metadata, "tokenizer.ggml.scores", n)
        if spm and "tokenizer.ggml.scores" not in metadata:
            raise FormatError("tokenizer.ggml.model is 'llama' (SentencePiece), but tokenizer.ggml.scores is missing")
        ids = {text: i for i, text in enumerate(tokens)}
        if len(ids) != n:
            i = next(i for i, text in enumerate(tokens) if ids[text] != i)
            raise FormatError(f"tokenizer.ggml.tokens: {tokens[i]!r} is both token {i} and token {ids[tokens[i]]}")

        def special(name: str, default: int | None) -> int | None:
            key = f"tokenizer.ggml.{name}_token_id"
            value = integer(metadata, key)
            if value is None:
                return default if default is not None and default < n else None
            if 0 <= value < n:
                return value
            # Files in circulation write 4294967295 (-1) for "none". As in llama.cpp, the default takes its place.
            log.warning("%s is %d, but the vocabulary has %d tokens (0..%d); it is ignored", key, value, n, n - 1)
            return default if default is not None and default < n else None

        bos_id = special("bos", 1 if spm else None)
        eos_id = special("eos", 2 if spm else None)
        eot_id, eom_id = special("eot", None), special("eom", None)
        for fim in ("fim_pre", "fim_suf", "fim_mid", "sep", "mask"):
            special(fim, None)  # for the warning only
        fim_ends = {special(name, None) for name in ("fim_pad", "fim_rep", "fim_sep")} - {None}

        merges = [] if spm else _merges(metadata)
        # A normal token that merges produce is text that happens to read like an end: "</s>" is an HTML tag to Qwen.
        produced = {left + right for left, right in merges} & (_END_TEXTS | _FIM_END_TEXTS)
        end_ids = {i for i in (eos_id, eot_id, eom_id, *fim_ends) if i is not None}
        for text in (_END_TEXTS | _FIM_END_TEXTS) & ids.keys():
            if types[ids[text]] != NORMAL or text not in produced:
                end_ids.add(ids[text])
                types[ids[text]] = CONTROL
        for text in _ALWAYS_SHOWN & ids.keys():
            types[ids[text]] = USER_DEFINED
        _leave_out(ids, types, end_ids)

        add_bos = flag(metadata, "tokenizer.ggml.add_bos_token")
        if add_bos and bos_id is None:
            raise FormatError("tokenizer.ggml.add_bos_token is true, but there is no tokenizer.ggml.bos_token_id")
        add_eos = flag(metadata, "tokenizer.ggml.add_eos_token")
        if add_eos and eos_id is None:
            raise FormatError("tokenizer.ggml.add_eos_token is true, but there is no tokenizer.ggml.eos_token_id")
        if add_bos is None:
            add_bos = (spm or pre.add_bos) and bos_id is not None
        if pre.escape_spaces and model == "gemma4" and bos_id is not None:
            add_bos = True  # converters wrote false for Gemma 4, which was trained with a leading <bos>
        prefix = flag(metadata, "tokenizer.ggml.add_space_prefix")
        strip_left, strip_right = _strips(metadata, ids, types)
        return cls(
            model=model,
            pre=pre,
            tokens=tokens,
            types=types,
            scores=scores,
            merges=merges,
            ids=ids,
            bos_id=bos_id,
            eos_id=eos_id,
            eot_id=eot_id,
            unk_id=special("unknown", 0 if spm else None),
            pad_id=special("padding", None),
            add_bos=add_bos,
            add_eos=bool(add_eos),
            add_space_prefix=spm if prefix is None else prefix,
            end_ids=frozenset(end_ids),
            strip_left=strip_left,
            strip_right=strip_right,
        )


def _pre_tokenizer(metadata: Mapping[str, Any], model: str) -> PreTokenizer:
    name = "gemma4" if model == "gemma4" else string(metadata, "tokenizer.ggml.pre")
    if not name:
        log.warning("the GGUF names no pre-tokenizer (tokenizer.ggml.pre); text is split by 'default'")
        return DEFAULT
    found = PRE_TOKENIZERS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, PRE_TOKENIZERS, n=3)
        hint = f" Nearest known: {', '.join(near)}." if near else ""
        raise UnsupportedError(f"tokenizer.ggml.pre {name!r} is not a known pre-tokenizer.{hint}")
    return found


def _tokens(metadata: Mapping[str, Any]) -> list[str]:
    tokens = string_array(metadata, "tokenizer.ggml.tokens")
    if not tokens:
        raise FormatError("tokenizer.ggml.tokens is missing or empty")
    for i, text in enumerate(tokens):
        if not text:
            tokens[i] = f"[EMPTY_{i}]"  # keeps the texts distinct; an empty token can never be matched
    return tokens


def _merges(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = string_array(metadata, "tokenizer.ggml.merges")
    if lines is None:
        raise FormatError("tokenizer.ggml.merges is missing, which a BPE vocabulary needs")
    merges = []
    for i, line in enumerate(lines):
        at = line.find(" ", 1)  # from 1: the left part may itself begin with a space
        if at < 0 or at + 1 == len(line):
            raise FormatError(f"tokenizer.ggml.merges[{i}] is {line!r}; expected two parts separated by a space")
        merges.append((line[:at], line[at + 1 :]))
    return merges


def _leave_out(ids: Mapping[str, int], types: list[int], end_ids: set[int]) -> None:
    """Vocabularies in which a text of the end list means something else."""
    harmony = {"<|return|>", "<|call|>", "<|end|>"} <= ids.keys()
    solar = {"<|flush|>", "<|end|>"} <= ids.keys() and bool({"<|call|>", "<|calls|>"} & ids.keys())
    if harmony or solar:  # <|end|> closes a message there, not the turn
        end_ids.discard(ids["<|end|>"])
        types[ids["<|end|>"]] = USER_DEFINED
    if "<|tool_response>" in ids and "</s>" in ids:  # Gemma 4: </s> is an HTML tag among others
        end_ids.discard(ids["</s>"])
        types[ids["</s>"]] = NORMAL


def _strips(
    metadata: Mapping[str, Any], ids: Mapping[str, int], types: Sequence[int]
) -> tuple[frozenset[int], frozenset[int]]:
    """Special tokens that swallow white space beside them. GGUF has no field for it: known by model name."""
    name = (string(metadata, "general.name") or "").lower()
    pre = string(metadata, "tokenizer.ggml.pre") or ""
    if pre in ("jina-v2-de", "jina-v2-es", "jina-v2-code") and "<mask>" in ids:
        return frozenset({ids["<mask>"]}), frozenset()
    if "phi-3" in name or "phi3" in name:
        keep = {ids[text] for text in ("<unk>", "<s>", "<|endoftext|>") if text in ids}
        special = {i for i, kind in enumerate(types) if kind in (CONTROL, USER_DEFINED, UNKNOWN)}
        return frozenset(), frozenset(special - keep)
    return frozenset(), frozenset()
