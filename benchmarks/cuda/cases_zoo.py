"""Models: the zoo's tiny variants, MobileNetV2 and the all-MiniLM architecture at their real size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch

from benchmarks import zoo_measure, zoo_models
from benchmarks.cuda.case_file import Bound, Case
from benchmarks.cuda.torch_case import call
from benchmarks.zoo_models import ZooModel

MOBILENET_BOUND = 1e-4
"""Of the largest element, as in tests/zoo."""


def tiny() -> Iterator[Case]:
    for name, model in zoo_models.all_models().items():
        module = model.build(tiny=True)
        for second in (False, True):
            if model.dynamic and second:
                continue
            buffer = zoo_measure.lower(zoo_measure.export(model, module, True, second)).buffer
            sizes = (False, True) if model.dynamic else (second,)
            runs = []
            for size in sizes:
                example = model.example(True, size)
                with torch.no_grad():
                    want = zoo_measure.outputs(module(*example))
                runs.append(call(example, want, [bound(model, t) for t in want]))
            yield Case(name + " second size" * second, buffer, runs)


def bound(model: ZooModel, want: torch.Tensor) -> Bound:
    return Bound("nmse" if want.dtype.is_floating_point else "equal", model.nmse)


@torch.no_grad()
def coarse(module: torch.nn.Module, seed: int = 0) -> None:
    """Weights of four values each, so that megabytes of them compress, and none trivial.

    Matrices and kernels keep the scale of what passes through.
    """
    generator = torch.Generator().manual_seed(seed)
    levels = torch.tensor([-1.25, -0.75, 0.75, 1.25])
    for parameter in module.parameters():
        drawn = levels[torch.randint(0, 4, parameter.shape, generator=generator)]
        if parameter.dim() <= 1:
            parameter.copy_(1.0 + 0.125 * drawn)
        else:
            parameter.copy_(drawn * (parameter.shape[0] / parameter.numel()) ** 0.5)
    for part in module.modules():
        if isinstance(part, torch.nn.Embedding):
            part.weight.copy_(levels[torch.randint(0, 4, part.weight.shape, generator=generator)] * 0.5)
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            assert part.running_var is not None
            part.running_mean.copy_(0.125 * levels[torch.randint(0, 4, part.running_mean.shape, generator=generator)])
            part.running_var.fill_(0.75)


def mobilenet() -> Iterator[Case]:
    """Images of 224 x 224, one and two of them; the layers are folded into each other as in tests/zoo."""
    from benchmarks.zoo_models.torchvision_import import torchvision
    from executorch_ggml import to_edge_rewrite_and_lower

    model = torchvision().models.mobilenet_v2(weights=None).eval()
    coarse(model)
    for count in (1, 2):
        image = torch.randint(-8, 9, (count, 3, 224, 224), generator=torch.Generator().manual_seed(count)) / 8
        edge = to_edge_rewrite_and_lower(torch.export.export(model, (image,)))
        with torch.no_grad():
            want = model(image)
        limit = Bound("absolute", MOBILENET_BOUND * max(1.0, float(want.abs().max())))
        yield Case(f"mobilenet_v2, {count} images", edge.to_executorch().buffer, [call([image], [want], [limit])])


def minilm() -> Iterator[Case]:
    """all-MiniLM-L6-v2's architecture, any batch and length; batches with padding."""
    import transformers
    from executorch.exir import to_edge_transform_and_lower
    from torch.export import Dim

    from executorch_ggml import GgmlPartitioner

    config = transformers.BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = transformers.BertModel(config, add_pooling_layer=False)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            seen = attention_mask.to(hidden.dtype).unsqueeze(-1)
            return torch.nn.functional.normalize((hidden * seen).sum(1) / seen.sum(1).clamp(min=1e-9), dim=1)

    encoder = Encoder().eval()
    coarse(encoder)
    sizes = {0: Dim("n", min=1, max=64), 1: Dim("t", min=1, max=256)}
    example = (torch.ones(2, 7, dtype=torch.int64), torch.ones(2, 7, dtype=torch.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(encoder, example, dynamic_shapes=(sizes, sizes), strict=False)
        lowered = to_edge_transform_and_lower(program, partitioner=[GgmlPartitioner()])
    runs = []
    generator = torch.Generator().manual_seed(3)
    for batch, length in ((1, 1), (1, 64), (8, 128), (3, 256)):
        ids = torch.randint(0, config.vocab_size, (batch, length), generator=generator)
        mask = (torch.arange(length)[None] < length - 5 * torch.arange(batch)[:, None]).to(torch.int64)
        with torch.no_grad():
            want = encoder(ids, mask)
        runs.append(call([ids, mask], [want], [Bound("nmse", 1e-9)]))
    yield Case("minilm", lowered.to_executorch().buffer, runs)
