#!/usr/bin/env python3
"""Trains the bundled model: python assets/train/train.py --out FOLDER [--text FILE] [--epochs N] [--dropout P].

Writes FOLDER/weights.npz (float32, GGUF tensor names), FOLDER/tokenizer.json and FOLDER/heldout.txt; pack.py makes the
GGUF of them. Minutes on a GPU, a night on a CPU. The same seed gives the same split and the same batches.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from network import Network, Size
from tokenizer import END_OF_TEXT
from tokenizer import train as train_tokenizer
from torch.nn import functional as F

HELD_OUT_EVERY, RUN = 25, 40  # of every 25 runs of 40 paragraphs one is kept from training


def split(text: str) -> tuple[list[str], list[str]]:
    """Runs of consecutive paragraphs, (training, held out)."""
    lines = text.split("\n")
    runs = ["\n".join(lines[i : i + RUN]) for i in range(0, len(lines), RUN)]
    held_out = runs[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY]
    return [r for i, r in enumerate(runs) if i % HELD_OUT_EVERY != HELD_OUT_EVERY // 2], held_out


@torch.no_grad()
def loss_on(network: Network, tokens: torch.Tensor) -> float:
    """Mean negative log likelihood in nats a token over consecutive windows."""
    network.eval()
    length = network.size.context
    count = (len(tokens) - 1) // length
    x = tokens[: count * length].view(count, length)
    y = tokens[1 : count * length + 1].view(count, length)
    total = 0.0
    for a, b in zip(x.split(16), y.split(16), strict=True):
        total += float(F.cross_entropy(network(a).flatten(0, 1).float(), b.flatten(), reduction="sum"))
    network.train()
    return total / (count * length)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--text", type=Path, help="the text, if it is already there (else corpus.py fetches it)")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.text:
        text = options.text.read_text()
    else:
        from corpus import load

        text = load()
    size = Size()
    training, held_out = split(text)
    tokenizer = train_tokenizer("\n".join(training), size.vocabulary)
    end = tokenizer.token_to_id(END_OF_TEXT)

    def encode(runs: list[str]) -> torch.Tensor:
        ids = [np.asarray([end, *e.ids], np.int64) for e in tokenizer.encode_batch(runs)]
        return torch.from_numpy(np.concatenate(ids)).to(device)

    train_tokens, test_tokens = encode(training), encode(held_out)
    torch.manual_seed(options.seed)
    network = Network(size, options.dropout).to(device)
    matrices = [p for p in network.parameters() if p.ndim == 2]
    vectors = [p for p in network.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": options.decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.95))
    per_epoch = len(train_tokens) // (options.batch * size.context)
    steps = options.epochs * per_epoch
    count = sum(p.numel() for p in network.parameters())
    print(f"{count:,} parameters, {len(train_tokens):,} tokens, {steps} steps on {device}", flush=True)
    generator = torch.Generator().manual_seed(options.seed)
    best, started = math.inf, time.time()
    offsets = torch.arange(size.context + 1, device=device)
    for step in range(steps):
        rate = options.rate * min(1.0, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(0, len(train_tokens) - size.context - 1, (options.batch,), generator=generator).to(
            device
        )
        window = train_tokens[starts[:, None] + offsets]
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            loss = F.cross_entropy(network(window[:, :-1]).flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % (2 * per_epoch) == 0 or step + 1 == steps:
            test = loss_on(network, test_tokens)
            report = (
                f"step {step + 1}: training {loss.item():.3f}, held out {test:.4f} (perplexity {math.exp(test):.2f})"
            )
            print(f"{report}, {time.time() - started:.0f} s", flush=True)
            if test < best:
                best = test
                weights = {k: v.detach().float().cpu().numpy() for k, v in network.named_parameters()}
                np.savez(options.out / "weights.npz", **weights)
    tokenizer.save(str(options.out / "tokenizer.json"))
    (options.out / "heldout.txt").write_text("\n\n".join(held_out))
    print(f"best held-out perplexity {math.exp(best):.3f} a token")


if __name__ == "__main__":
    main()
