"""Special tokens, beginnings and ends: what the metadata ask for beyond merging."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executorch_ggml.errors import InvalidArgumentError, ValueRangeError
from executorch_ggml.llm.text.pretokenizers import PRE_TOKENIZERS
from executorch_ggml.llm.text.tokenizer import Tokenizer
from executorch_ggml.llm.text.vocabulary import CONTROL, NORMAL

Metadata = dict[str, Any]
MakeTokenizer = Callable[[str], Tokenizer]


def test_control_tokens_in_text_need_parse_special(tokenizer_for: MakeTokenizer) -> None:
    tokenizer = tokenizer_for("llama-bpe")
    text = "a<|eot_id|>b"
    eot = tokenizer.vocabulary.ids["<|eot_id|>"]
    plain = tokenizer.encode(text, add_special=False)
    assert eot not in plain
    assert tokenizer.decode(plain) == text
    parsed = tokenizer.encode(text, add_special=False, parse_special=True)
    assert len(parsed) == 3
    assert parsed[1] == eot
    assert tokenizer.decode(parsed) == "ab"
    assert tokenizer.decode(parsed, special=True) == text


def test_no_control_token_can_be_spelt(tokenizer_for: MakeTokenizer) -> None:
    for name in ("llama-spm", "phi-3", "qwen2", "gemma-4", "llama-bpe"):
        vocabulary = tokenizer_for(name).vocabulary
        for token in [i for i, kind in enumerate(vocabulary.types) if kind == CONTROL][:200]:
            assert token not in tokenizer_for(name).encode(vocabulary.tokens[token], add_special=False)


def test_user_defined_tokens_are_always_found(bpe_metadata: Metadata) -> None:
    tokenizer = Tokenizer.from_metadata(bpe_metadata)
    user = tokenizer.vocabulary.ids["<user>"]
    assert tokenizer.encode("a<user>b").count(user) == 1
    assert tokenizer.decode([user]) == "<user>"


def test_longer_special_tokens_first(bpe_metadata: Metadata) -> None:
    bpe_metadata["tokenizer.ggml.tokens"] += ["<u", "<user>>"]
    bpe_metadata["tokenizer.ggml.token_type"] += [4, 4]
    tokenizer = Tokenizer.from_metadata(bpe_metadata)
    ids = tokenizer.vocabulary.ids
    assert tokenizer.encode("<user>>") == [ids["<user>>"]]
    assert tokenizer.encode("<user><u") == [ids["<user>"], ids["<u"]]


@pytest.mark.parametrize("add", [True, False])
def test_bos_and_eos(spm_metadata: Metadata, add: bool) -> None:
    spm_metadata |= {"tokenizer.ggml.add_bos_token": add, "tokenizer.ggml.add_eos_token": add}
    tokenizer = Tokenizer.from_metadata(spm_metadata)
    ids = tokenizer.encode("the")
    assert (ids[0] == 1, ids[-1] == 2) == (add, add)
    assert tokenizer.encode("", add_special=False) == []
    assert tokenizer.encode("") == ([1, 2] if add else [])


def test_space_prefix(spm_metadata: Metadata) -> None:
    with_prefix = Tokenizer.from_metadata(spm_metadata)
    ids = with_prefix.vocabulary.ids
    assert with_prefix.encode("the", add_special=False) == [ids["\u2581the"]]
    assert with_prefix.decode([ids["\u2581the"]]) == "the"
    # after a special token the prefix is put, and taken away, again
    assert with_prefix.encode("the</s>the", add_special=False, parse_special=True) == [
        ids["\u2581the"],
        2,
        ids["\u2581the"],
    ]
    assert with_prefix.decode([ids["\u2581the"], 2, ids["\u2581the"]]) == "thethe"
    # a continuation keeps its space
    assert with_prefix.stream(previous=ids["the"]).push(ids["\u2581the"]) == " the"
    without = Tokenizer.from_metadata({**spm_metadata, "tokenizer.ggml.add_space_prefix": False})
    assert without.encode("the", add_special=False) == [ids["the"]]
    assert without.decode([ids["\u2581the"]]) == " the"


def test_phi3_special_tokens_swallow_space(tokenizer_for: MakeTokenizer) -> None:
    tokenizer = tokenizer_for("phi-3")
    user = tokenizer.vocabulary.ids["<|user|>"]
    spaced = tokenizer.encode("<|user|> \n hello", add_special=False, parse_special=True)
    assert spaced == tokenizer.encode("<|user|>hello", add_special=False, parse_special=True)
    assert spaced[0] == user


@pytest.mark.parametrize(
    "name, texts",
    [
        ("qwen2", {"<|endoftext|>", "<|im_end|>"}),
        ("llama-bpe", {"<|eot_id|>", "<|end_of_text|>"}),
        ("llama-spm", {"</s>"}),
        ("phi-3", {"<|endoftext|>", "</s>", "<|end|>"}),
        ("gemma-4", {"<eos>", "<turn|>", "<|tool_response>"}),
        ("command-r", {"<|END_OF_TURN_TOKEN|>", "<PAD>"}),
    ],
)
def test_end_tokens(name: str, texts: set[str], tokenizer_for: MakeTokenizer) -> None:
    tokenizer = tokenizer_for(name)
    assert {tokenizer.vocabulary.tokens[i] for i in tokenizer.end_ids} == texts


def test_a_tag_that_reads_like_an_end_is_text(tokenizer_for: MakeTokenizer) -> None:
    tokenizer = tokenizer_for("qwen2")
    tag = tokenizer.vocabulary.ids["</s>"]
    assert tokenizer.vocabulary.types[tag] == NORMAL
    assert tag not in tokenizer.end_ids
    # text to be cut into words, not a special token to be cut out first
    assert [tokenizer.decode([i]) for i in tokenizer.encode("a</s>", parse_special=True)] == ["a", "</", "s", ">"]
    assert tokenizer.decode([tag]) == "</s>"


def test_every_pre_tokenizer_splits_without_loss(bpe_metadata: Metadata) -> None:
    text = "Hello  world's 1234567\n\n\t(x+y)! \u4f60\u597d, \u041f\u0440\u0438\u0432\u0435\u0442 a\u0301 \U0001f642 "
    for name, pre in PRE_TOKENIZERS.items():
        if not pre.byte_level:
            continue
        tokenizer = Tokenizer.from_metadata({**bpe_metadata, "tokenizer.ggml.pre": name})
        assert tokenizer.decode(tokenizer.encode(text, add_special=False)) == text, name


@pytest.mark.parametrize("token", [-1, 10**6])
def test_ids_outside_the_vocabulary(bpe_metadata: Metadata, token: int) -> None:
    with pytest.raises(ValueRangeError, match=str(token)):
        Tokenizer.from_metadata(bpe_metadata).decode([token])


def test_text_that_is_not_unicode(bpe_metadata: Metadata) -> None:
    with pytest.raises(InvalidArgumentError, match="character 2"):
        Tokenizer.from_metadata(bpe_metadata).encode("ab\ud800")
