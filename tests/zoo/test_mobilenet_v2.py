"""The MobileNetV2 example of the README: with and without the explicit pass, equal to eager within 1e-4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def mobilenet() -> Any:
    """The real network at 224 x 224, with statistics that make a wrong fold show."""
    import torch

    from benchmarks.zoo_models.model import randomise
    from benchmarks.zoo_models.torchvision_import import torchvision

    try:
        models = torchvision().models
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        pytest.skip("torchvision is not installed")
    torch.manual_seed(0)
    model = models.mobilenet_v2(weights=None).eval()
    randomise(model)
    return model


@pytest.mark.parametrize("explicit", [False, True], ids=["plain", "explicit pass"])
def test_equals_eager(mobilenet: Any, explicit: bool, tmp_path: Path) -> None:
    import torch

    from executorch_ggml import Program, to_edge_rewrite_and_lower
    from executorch_ggml.analysis.reference import delegates
    from executorch_ggml.aot.passes import BatchNormFoldingRewritePass

    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    edge = to_edge_rewrite_and_lower(
        torch.export.export(mobilenet, (image,)), ep_passes=[BatchNormFoldingRewritePass()] if explicit else None
    )
    nodes = [n for n in edge.exported_program().graph.nodes if n.op == "call_function"]
    assert len(delegates(edge.exported_program())) == 1
    assert len(nodes) == 2  # the call and the pick of its only result
    path = tmp_path / "mobilenet_v2.pte"
    path.write_bytes(edge.to_executorch().buffer)
    with torch.no_grad():
        want = mobilenet(image)
    with Program(path, threads=1) as program:
        (got,) = program(image)
    assert want.abs().max() > 0.1
    assert (got - want).abs().max() <= 1e-4 * max(1.0, float(want.abs().max()))
