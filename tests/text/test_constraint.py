"""Answers of a form: whatever is sampled, the text satisfies the schema, grammar or regular expression."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from typing import Any

import jsonschema
import numpy as np
import pytest
from shared_models import TinyLlm

from executorch_ggml import GGUFModule
from executorch_ggml.errors import InvalidArgumentError, LibraryError, ValueRangeError
from executorch_ggml.llm.text.constraint import Constraint, constraint_of
from executorch_ggml.llm.text.token_loop import TokenLoop
from executorch_ggml.llm.text.tokenizer import Tokenizer

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", "é", "日本", None, True]}, "maxItems": 2},
        "more": {"$ref": "#/$defs/point"},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
    "$defs": {"point": {"type": "array", "prefixItems": [{"type": "boolean"}, {"const": "x y"}], "items": False}},
}
REGEXES = ["[0-9]{3}-(the|and) [a-z]{1,4}", "(é|日本|🙂){1,3}", " the( the)?", "a|ab|abc"]
GRAMMAR = 'start: sum\nsum: NUMBER ("+" NUMBER){1,3} "=" /[a-f]{2}/\nNUMBER: /[1-9][0-9]?/'
GRAMMAR_AS_REGEX = r"[1-9][0-9]?(\+[1-9][0-9]?){1,3}=[a-f]{2}"


@pytest.fixture(autouse=True)
def _package() -> None:
    pytest.importorskip("llguidance")


@pytest.fixture(params=["bpe", "spm", "bundled", "qwen2", "llama-spm", "gemma-4"])
def tokenizer(request: pytest.FixtureRequest, bundled: TinyLlm) -> Tokenizer:
    """Byte-level BPE and SentencePiece, made up and real."""
    if request.param == "bundled":
        return Tokenizer.from_gguf(bundled.gguf)
    if request.param in ("bpe", "spm"):
        return Tokenizer.from_metadata(request.getfixturevalue(f"{request.param}_metadata"))
    return request.getfixturevalue("tokenizer_for")(request.param)


def walk(tokenizer: Tokenizer, kind: str, source: Any, seed: int) -> str:
    """Any allowed token, until nothing may follow or an end token was drawn."""
    rng, constraint, ids = random.Random(seed), Constraint(tokenizer, kind, source), []
    stream = tokenizer.stream(verbatim=True)
    text = ""
    while (words := constraint.allowed()) is not None:
        bits = np.unpackbits(words.view(np.uint8), bitorder="little")
        token = rng.choice(np.flatnonzero(bits).tolist())
        if token in tokenizer.end_ids:
            break
        assert not tokenizer.is_special(token)
        constraint.accept(token)
        ids.append(token)
        text += stream.push(token)
        assert len(ids) < 2000
    assert text == b"".join(tokenizer.token_bytes(i) for i in ids).decode()
    return text + stream.flush()


def test_whatever_is_sampled(tokenizer: Tokenizer) -> None:
    for seed in range(12):
        jsonschema.validate(json.loads(walk(tokenizer, "json_schema", PERSON, seed)), PERSON)
        for regex in REGEXES:
            assert re.fullmatch(regex, walk(tokenizer, "regex", regex, seed)), regex
        assert re.fullmatch(GRAMMAR_AS_REGEX, walk(tokenizer, "grammar", GRAMMAR, seed))


def test_each_spelling_is_allowed(tokenizer: Tokenizer) -> None:
    """The mask leaves nothing out: the tokenizer's own way to write a right text is open, to its end."""
    for text in ('{"name":"the 日本","age":12,"tags":["é"]}', '{ "name" : "" , "age" : 0 , "tags" : [ ] }'):
        constraint = Constraint(tokenizer, "json_schema", PERSON)
        for token in tokenizer.encode(text, add_special=False, continues=True):
            words = constraint.allowed()
            assert words is not None
            assert words[token // 32] >> (token % 32) & 1, (text, tokenizer.token_bytes(token))
            constraint.accept(token)
        assert constraint.allowed() is None


def test_an_end_only_where_the_text_may_end(tokenizer: Tokenizer) -> None:
    constraint = Constraint(tokenizer, "regex", "a(b|c)?")

    def ends() -> list[bool]:
        words = constraint.allowed()
        assert words is not None
        return [bool(words[i // 32] >> (i % 32) & 1) for i in sorted(tokenizer.end_ids)]

    assert not any(ends())
    constraint.accept(tokenizer.encode("a", add_special=False, continues=True)[0])
    assert any(ends())


def test_white_space_ends(bundled: TinyLlm) -> None:
    tokenizer = Tokenizer.from_gguf(bundled.gguf)
    for seed in range(10):
        assert not re.search(r"[ \n]{18}|\t|\n\n|[^\n ]  ", walk(tokenizer, "json_schema", PERSON, seed))
    own = {**PERSON, "x-guidance": {"whitespace_flexible": False}}
    assert re.match(r'\{"name":"[^"]*","age":\d', walk(tokenizer, "json_schema", own, 1))


@pytest.mark.parametrize(
    "schema, words, place",
    [
        ("{", "not JSON", ""),
        ("[1]", "a schema is an object", ""),
        ({"a": float("nan")}, "not JSON", ""),
        (False, "Unsatisfiable", "#)"),
        ({"type": "string", "minLength": 5, "maxLength": 3}, "minLength", "#)"),
        ({"properties": {"a": {"items": {"type": "strin"}}}}, "strin", "#/properties/a/items)"),
        (
            {"properties": {"a": False, "b": {"anyOf": [{}, {"not": {}}]}}},
            "not",
            "#/properties/b/anyOf/1)",
        ),
        (
            {"type": "object", "required": ["a"], "properties": {"a": {
                "type": "object", "required": ["b"], "properties": {
                    "b": {"type": "integer", "minimum": 5, "maximum": 3}}}}},
            "required property 'a'",
            "#/properties/a/properties/b)",
        ),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"pattern": "("}}}, "unclosed group", "#/$defs/x)"),
        ({"properties": {"a": {"$ref": "#/nowhere"}}}, "/nowhere", "#/properties/a)"),
    ],
)  # fmt: skip
def test_a_wrong_schema_is_refused_with_its_place(bundled: TinyLlm, schema: Any, words: str, place: str) -> None:
    tokenizer = Tokenizer.from_gguf(bundled.gguf)
    with pytest.raises(InvalidArgumentError) as caught:
        constraint_of(tokenizer, schema, None, None)
    assert str(caught.value).startswith("json_schema")
    assert words in str(caught.value)
    assert str(caught.value).endswith(place)
    assert "<state>" not in str(caught.value)


def test_other_errors(bundled: TinyLlm, bpe_metadata: dict[str, Any]) -> None:
    tokenizer = Tokenizer.from_gguf(bundled.gguf)
    for given, words in (
        ({"grammar": 'start: "a" x\nx: y'}, r"2\(4\).*unknown name"),
        ({"grammar": ""}, "Empty"),
        ({"regex": "a("}, "unclosed group"),
        ({"regex": "a", "grammar": "b"}, "one of them only"),
        ({"regex": 3}, "must be text"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            constraint_of(tokenizer, **{"json_schema": None, "grammar": None, "regex": None, **given})
    with pytest.raises(InvalidArgumentError, match="tokenizer"):
        constraint_of(None, None, None, "a")
    assert constraint_of(tokenizer, None, None, None) is None
    # No token can begin: a regex without texts, a rule that never ends, a vocabulary without the character.
    for kind, source in (("regex", r"[^\s\S]"), ("grammar", 'start: start "a"')):
        with pytest.raises(InvalidArgumentError, match="no token can follow"):
            Constraint(tokenizer, kind, source).allowed()
    tokens = bpe_metadata["tokenizer.ggml.tokens"]
    tokens[tokens.index("x")] = "another"
    with pytest.raises(InvalidArgumentError, match="no token can follow 'a'"):
        walk(Tokenizer.from_metadata(bpe_metadata), "regex", "ax", 0)


def test_a_vocabulary_without_an_end(bpe_metadata: dict[str, Any]) -> None:
    del bpe_metadata["tokenizer.ggml.eos_token_id"]
    bpe_metadata["tokenizer.ggml.tokens"][-2] = "<none>"
    tokenizer = Tokenizer.from_metadata(bpe_metadata)
    assert not tokenizer.end_ids
    assert {walk(tokenizer, "regex", "a(b|c)?", seed) for seed in range(40)} == {"ab", "ac"}  # "a" alone is no end
    assert jsonschema.validate(json.loads(walk(tokenizer, "json_schema", PERSON, 0)), PERSON) is None


def test_with_a_model(bundled: TinyLlm) -> None:
    """At any temperature; the same seed gives the same text; a limit leaves the beginning of a right text."""
    with GGUFModule(bundled.pte, bundled.gguf, threads=1) as module:
        for temperature, seed in ((0.0, 1), (0.7, 2), (20.0, 3), (20.0, 4)):
            options: dict[str, Any] = {"temperature": temperature, "seed": seed, "json_schema": PERSON}
            whole = module.generate("In the", **options)
            text = whole.read()
            assert whole.finish_reason == "stop"
            jsonschema.validate(json.loads(text), PERSON)
            assert module.generate("In the", **options).read() == text
            for limit in (1, 3, len(whole.tokens) // 2, len(whole.tokens)):
                cut = module.generate("In the", max_tokens=limit, **options)
                assert text.startswith(cut.read())
                assert cut.finish_reason == ("length" if limit < len(whole.tokens) else "stop")
        # Half a character is not shown: its first byte alone is no text.
        cut = module.generate("In the", max_tokens=1, regex="日本")
        assert (cut.read(), cut.finish_reason) == ("", "length")
        free = module.generate("In the beginning", max_tokens=8)
        text = free.read()
        assert module.generate("In the beginning", max_tokens=8, regex=r"(.|\n)*").read() == text
        generation = module.generate("In the", regex="(yes|no)", logprobs=1)
        assert generation.read() in ("yes", "no")
        assert generation.logprobs[0].logprob < generation.logprobs[0].top[0][1]  # the model's own numbers
        with pytest.raises(InvalidArgumentError, match="ignore_end"):
            module.generate("In", regex="a", ignore_end=True)


def test_a_loop_among_allowed_tokens(bundled: TinyLlm) -> None:
    with GGUFModule(bundled.pte, bundled.gguf, threads=1) as module:
        loop = TokenLoop(module.program)
        loop.feed([5, 6])
        best = int(loop.logits().argmax())
        words = np.full(64, 0xFFFFFFFF, np.uint32)
        assert loop.next(words) == best
        loop.rewind(2)
        words[best // 32] &= ~np.uint32(1 << best % 32)
        second = loop.next(words)
        logits = loop.logits()
        assert second == int(np.argsort(-logits, kind="stable")[1])
        assert np.isfinite(logits).all()  # the model's, not the masked ones
        only = np.zeros(1, np.uint32)
        only[0] = 1 << 7
        assert loop.next(only) == 7  # tokens beyond the words are not allowed
        with pytest.raises(ValueRangeError, match="allowed"):
            loop.next(np.zeros(64, np.uint32))
        assert loop.tokens == [5, 6, second, 7]
        loop.close()


def test_a_space_at_the_beginning(spm_metadata: dict[str, Any]) -> None:
    """The space of a SentencePiece vocabulary is part of the text that the grammar is about."""
    tokenizer = Tokenizer.from_metadata(spm_metadata)
    assert {walk(tokenizer, "regex", " the|the", seed) for seed in range(30)} == {" the", "the"}
    assert tokenizer.decode(tokenizer.encode("the", add_special=False, continues=True)) == "the"
    assert len(tokenizer.encode("the", add_special=False, continues=True)) == 1


def test_the_package_is_missing(bundled: TinyLlm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(LibraryError, match=r"executorch-ggml\[grammar\]"):
        constraint_of(Tokenizer.from_gguf(bundled.gguf), None, None, "a")


def test_it_is_not_imported_without_need(run_python: Callable[[str], str]) -> None:
    code = "import sys, executorch_ggml.text; print([m for m in sys.modules if m.startswith('llguidance')])"
    assert run_python(code).strip() == "[]"
