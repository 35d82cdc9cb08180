"""Checkpoints in the layouts that Parakeet is published in, written here at tiny size, against the library's model."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from speech_models import speech_like

from executorch_ggml.errors import BindError, FileError, FormatError, UnsupportedError
from executorch_ggml.speech.parakeet.convert import load_parakeet

WORDS = ["<unk>", "<|nospeech|>", "▁the", "▁a", "s", "▁", "<0x41>", "é", *(f"▁w{i}" for i in range(24))]


def hf_model(bias: bool = False) -> Any:
    from transformers import ParakeetForTDT, ParakeetTDTConfig

    config = ParakeetTDTConfig(
        vocab_size=33, decoder_hidden_size=32, num_decoder_layers=2, blank_token_id=32, pad_token_id=2,
        encoder_config={
            "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
            "attention_bias": bias, "convolution_bias": bias, "subsampling_conv_channels": 8, "num_mel_bins": 32,
            "scale_input": bias,
        },
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ParakeetForTDT(config).eval()
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if "norm" in name or "bias" in name:  # what would be zeros and ones
                    tensor.copy_(torch.rand_like(tensor, dtype=torch.float32).to(tensor.dtype) + 0.5)
    return model


def write_hf(model: Any, folder: Path) -> Path:
    from tokenizers import Tokenizer, models

    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.Unigram([(word, -float(i)) for i, word in enumerate(WORDS)], unk_id=0))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


_TO_NEMO = (
    (r"^encoder\.subsampling\.layers\.", "encoder.pre_encode.conv."),
    (r"^encoder\.subsampling\.linear\.", "encoder.pre_encode.out."),
    (r"\.self_attn\.([qkv])_proj\.", r".self_attn.linear_\1."),
    (r"\.self_attn\.o_proj\.", ".self_attn.linear_out."),
    (r"\.relative_k_proj\.", ".linear_pos."),
    (r"\.self_attn\.bias_", ".self_attn.pos_bias_"),
    (r"\.conv\.norm\.", ".conv.batch_norm."),
    (r"^decoder\.embedding\.", "decoder.prediction.embed."),
    (r"^decoder\.lstm\.", "decoder.prediction.dec_rnn.lstm."),
    (r"^decoder\.decoder_projector\.", "joint.pred."),
    (r"^encoder_projector\.", "joint.enc."),
    (r"^joint\.head\.", "joint.joint_net.2."),
)


def write_nemo(model: Any, folder: Path, **encoder: Any) -> Path:
    import yaml

    state = {}
    for name, tensor in model.state_dict().items():
        for pattern, replacement in _TO_NEMO:
            name = re.sub(pattern, replacement, name)
        state[name] = tensor
    state["preprocessor.featurizer.window"] = torch.hann_window(400, periodic=False)
    state["preprocessor.featurizer.fb"] = torch.zeros(1, 32, 257)
    config = {
        "preprocessor": {"sample_rate": 16000, "normalize": "per_feature", "window_size": 0.025, "window_stride": 0.01,
                         "features": 32, "n_fft": 512},
        "encoder": {"n_layers": 2, "d_model": 64, "n_heads": 4, "ff_expansion_factor": 2, "subsampling": "dw_striding",
                    "subsampling_factor": 8, "subsampling_conv_channels": 8, "self_attention_model": "rel_pos",
                    "xscaling": False, "use_bias": False, "conv_kernel_size": 9, **encoder},
        "decoder": {"prednet": {"pred_hidden": 32, "pred_rnn_layers": 2}},
        "joint": {"jointnet": {"joint_hidden": 32, "activation": "relu"}, "vocabulary": WORDS},
        "model_defaults": {"tdt_durations": [0, 1, 2, 3, 4]},
        "decoding": {"greedy": {"max_symbols": 10}},
    }  # fmt: skip
    torch.save(state, folder / "model_weights.ckpt")
    (folder / "model_config.yaml").write_text(yaml.safe_dump(config))
    with tarfile.open(folder / "tiny.nemo", "w") as archive:
        for name in ("model_weights.ckpt", "model_config.yaml"):
            archive.add(folder / name, f"./{name}")
            (folder / name).unlink()
    return folder / "tiny.nemo"


@torch.no_grad()
def check(path: Path, reference: Any) -> None:
    """Features, encoder, prediction network and joint against the library's."""
    from speech_models import features_reference
    from transformers import ParakeetFeatureExtractor

    model, pieces = load_parakeet(path, 512)
    assert pieces[:8] == [b"", b"", b" the", b" a", b"s", b" ", b"A", "é".encode()]
    samples = torch.tensor(speech_like(1.3))
    features = features_reference(model, samples)
    extract = ParakeetFeatureExtractor(feature_size=32)
    given = extract(samples.numpy(), sampling_rate=16000, return_tensors="pt")
    valid = int(given.attention_mask.sum())
    torch.testing.assert_close(features, given.input_features[:, :valid], rtol=1e-4, atol=1e-3)
    wanted = reference.get_audio_features(input_features=features).pooler_output
    torch.testing.assert_close(model.encoder(features), wanted, rtol=1e-4, atol=1e-4)
    tokens = torch.tensor([[32, 5, 5, 1]])
    predicted = reference.decoder(tokens)
    mine = torch.cat([model.predictor(tokens[:, i : i + 1]) for i in range(4)], dim=1)
    torch.testing.assert_close(mine, predicted, rtol=1e-4, atol=1e-5)
    logits = reference.joint(decoder_hidden_states=predicted[:, -1:], encoder_hidden_states=wanted)[0]
    assert model.joint(wanted, predicted[:, -1:])[0].tolist() == logits[:, :33].argmax(-1).tolist()
    assert model.joint(wanted, predicted[:, -1:])[1].tolist() == logits[:, 33:].argmax(-1).tolist()


@pytest.mark.parametrize("bias", [False, True])
def test_hugging_face(bias: bool, tmp_path: Path) -> None:
    reference = hf_model(bias)
    check(write_hf(reference, tmp_path), reference)


def test_nemo(tmp_path: Path) -> None:
    reference = hf_model()
    check(write_nemo(reference, tmp_path), reference)
    check(tmp_path, reference)  # the folder of the archive will do


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_hf(hf_model(), tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layers.1.norm_out.weight"]
    weights["encoder.layers.1.adapter.weight"] = torch.zeros(2)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(BindError, match=r"missing: encoder\.layers\.1\.norm\.weight; unknown: .*adapter"):
        load_parakeet(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "parakeet_ctc"}))
    with pytest.raises(UnsupportedError, match="parakeet_ctc"):
        load_parakeet(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(FormatError, match="no JSON"):
        load_parakeet(folder)


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"(?i)no such file"):
        load_parakeet(tmp_path / "none.nemo")
    with pytest.raises(FileError, match="no model"):
        load_parakeet(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(FormatError, match="not a safetensors file"):
        load_parakeet(tmp_path)
    (tmp_path / "bad.nemo").write_bytes(b"no tar")
    with pytest.raises(FormatError, match="not a NeMo archive"):
        load_parakeet(tmp_path / "bad.nemo")


def test_nemo_options_that_are_not_implemented(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="rel_pos_local_attn"):
        load_parakeet(write_nemo(hf_model(), tmp_path, self_attention_model="rel_pos_local_attn"))
