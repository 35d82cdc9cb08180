"""Text encoders of Hugging Face: ids, mask int64 [N, T] -> hidden states [N, T, C]; one export, N and T dynamic."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from torch.export import Dim

from .model import Inputs, Pick, ZooModel, dims

_BERT = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
_MASKED = ("input_ids", "attention_mask")


def _bert(tiny: bool) -> Any:
    return Pick(hf.BertModel(hf.BertConfig(**(_BERT if tiny else {}))), _MASKED, "last_hidden_state")


def _roberta(tiny: bool) -> Any:
    return Pick(hf.RobertaModel(hf.RobertaConfig(**(_BERT if tiny else {}))), _MASKED, "last_hidden_state")


def _distilbert(tiny: bool) -> Any:
    small = {"vocab_size": 100, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64}
    return Pick(hf.DistilBertModel(hf.DistilBertConfig(**(small if tiny else {}))), _MASKED, "last_hidden_state")


def _t5_encoder(tiny: bool) -> Any:
    small = {"vocab_size": 100, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    return Pick(hf.T5EncoderModel(hf.T5Config(**(small if tiny else {}))), _MASKED, "last_hidden_state")


def _sentences(tiny: bool, second: bool) -> Inputs:
    """A batch in which one sentence is shorter than the other."""
    rows, length = ((2, 9), (3, 17))[second] if tiny else ((2, 64), (3, 100))[second]
    ids = torch.randint(3, 100, (rows, length))
    mask = torch.ones(rows, length, dtype=torch.long)
    mask[-1, length - 3 :] = 0
    return ids, mask


def _dynamic(tiny: bool) -> Any:
    n, t = Dim("n", min=1, max=8), Dim("t", min=2, max=48 if tiny else 128)
    return dims({0: n, 1: t}, {0: n, 1: t})(tiny)


MODELS = [
    ZooModel("bert", _bert, _sentences, _dynamic),
    ZooModel("distilbert", _distilbert, _sentences, _dynamic),
    ZooModel("roberta", _roberta, _sentences, _dynamic),
    ZooModel("t5_encoder", _t5_encoder, _sentences, _dynamic),
]
