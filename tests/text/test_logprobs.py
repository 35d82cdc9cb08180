"""Log-probabilities of chosen tokens, against the logits of the module's own forward."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from shared_models import TinyLlm

from executorch_ggml import GGUFModule
from executorch_ggml.errors import InvalidArgumentError
from executorch_ggml.llm.text import generate
from executorch_ggml.llm.text.logprobs import token_logprob


def test_against_forward(bundled: TinyLlm) -> None:
    with GGUFModule(bundled.pte, bundled.gguf, threads=1) as module:
        for options in ({}, {"temperature": 1.0, "seed": 3}):
            generation = module.generate("In the beginning", max_tokens=6, logprobs=3, **options)
            generation.read()
            assert [item.token for item in generation.logprobs] == generation.tokens
            sequence = list(generation.prompt_tokens)
            module.reset()
            logits = module.forward([sequence], list(range(len(sequence))))[0][0, -1]
            for item in generation.logprobs:
                exact = logits.astype(np.float64)
                exact -= np.log(np.exp(exact - exact.max()).sum()) + exact.max()
                assert item.logprob == pytest.approx(exact[item.token], abs=2e-2)
                assert len(item.top) == 3
                assert item.top[0][1] >= item.top[1][1] >= item.top[2][1]
                if not options:
                    assert item.top[0] == (item.token, item.logprob)
                logits = module.forward([[item.token]], [len(sequence)])[0][0, -1]
                sequence.append(item.token)


def test_the_numbers() -> None:
    item = token_logprob(np.log(np.array([0.5, 0.25, 0.25], np.float32)), 2, 2)
    assert item.logprob == pytest.approx(np.log(0.25))
    assert [token for token, _ in item.top] == [0, 1]
    assert token_logprob(np.zeros(4, np.float32), 1, 0).top == ()


def test_off_and_refused(bundled: TinyLlm) -> None:
    with GGUFModule(bundled.pte, bundled.gguf, threads=1) as module:
        generation = module.generate("In", max_tokens=2)
        generation.read()
        assert generation.logprobs == []
        with pytest.raises(InvalidArgumentError, match="logprobs"):
            module.generate("In", logprobs=-1)


def test_the_module_has_the_functions_options(bundled: TinyLlm) -> None:
    """A method with **options would let a mistyped name pass an editor and a type checker."""
    method, function = (inspect.signature(f).parameters for f in (GGUFModule.generate, generate))
    for name in list(function)[1:]:
        assert (method[name].default, method[name].annotation) == (function[name].default, function[name].annotation)
    assert list(method)[1:] == list(function)[1:]


def test_the_tokenizer(bundled: TinyLlm) -> None:
    with GGUFModule(bundled.pte, bundled.gguf, threads=1) as module:
        assert module.tokenizer is module.tokenizer
        assert module.tokenizer.decode(module.tokenizer.encode("In the beginning")) == "In the beginning"
