"""ExecuTorch's own text runner on our `.pte`, with the weights from a registered GGUF."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from shared_models import TinyLlm

from executorch_ggml.llm.module import GGUFModule
from executorch_ggml.llm.text.tokenizer import Tokenizer
from executorch_ggml.runtime.gguf_file import GGUFFile

PROMPT = "In the beginning"


def write_tokenizer_json(gguf: Path, out: Path) -> None:
    """The GGUF's byte-level BPE in the form the runner reads; splits words as GPT-2 does, which is the same here."""
    tokenizers = pytest.importorskip("tokenizers")
    with GGUFFile(gguf) as file:
        metadata = dict(file.metadata)
    tokens = list(metadata["tokenizer.ggml.tokens"])
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    model = tokenizers.models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens([tokens[metadata["tokenizer.ggml.bos_token_id"]]])
    tokenizer.save(str(out))


def test_text_llm_runner(bundled: TinyLlm, run_python: Callable[[str], str], tmp_path: Path) -> None:
    pytest.importorskip("executorch.extension.llm.runner._llm_runner")
    write_tokenizer_json(bundled.gguf, tmp_path / "tokenizer.json")
    code = f"""
import json
import executorch_ggml.runtime.register as host
host.register_weights({str(bundled.gguf)!r})
from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner
runner = TextLLMRunner({str(bundled.pte)!r}, {str(tmp_path / "tokenizer.json")!r})
pieces = []
config = GenerationConfig(echo=False, max_new_tokens=12, temperature=0.0, num_bos=0, num_eos=0)
runner.generate({PROMPT!r}, config, token_callback=pieces.append)
print("PIECES" + json.dumps(pieces))
"""
    line = next(line for line in run_python(code).splitlines() if "PIECES" in line)
    text = "".join(json.loads(line.partition("PIECES")[2]))
    prompt = Tokenizer.from_gguf(bundled.gguf).encode(PROMPT, add_special=False)
    with GGUFModule(bundled.pte, bundled.gguf, threads=1) as module:
        expected = "".join(module.generate(prompt, max_tokens=12))
    assert len(text) > 8
    assert text.strip() == expected.strip()
