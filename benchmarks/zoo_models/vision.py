"""Image models of torchvision: image float32 [N, 3, H, W] -> classes [N, K] (or a map of classes)."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from torch import nn

from .model import Inputs, ZooModel
from .torchvision_import import torchvision

models: Any = torchvision().models
_CLASSES = 10


def _resnet18(tiny: bool) -> Any:
    if tiny:
        return models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=_CLASSES)
    return models.resnet18(weights=None)


def mobilenet_v2(tiny: bool) -> Any:
    if not tiny:
        return models.mobilenet_v2(weights=None)
    setting = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]]
    return models.MobileNetV2(num_classes=_CLASSES, width_mult=0.5, inverted_residual_setting=setting)


def _v3_blocks() -> list[Any]:
    """(in, kernel, expanded, out, squeeze, activation, stride, dilation): one block of each kind."""
    block = partial(models.mobilenetv3.InvertedResidualConfig, width_mult=1.0)
    return [
        block(16, 3, 16, 16, True, "RE", 2, 1),
        block(16, 3, 40, 24, False, "RE", 2, 1),
        block(24, 5, 48, 24, True, "HS", 1, 1),
        block(24, 5, 48, 32, True, "HS", 2, 2),
    ]


def _mobilenet_v3_small(tiny: bool) -> Any:
    if tiny:
        return models.MobileNetV3(_v3_blocks(), last_channel=64, num_classes=_CLASSES)
    return models.mobilenet_v3_small(weights=None)


def _efficientnet_b0(tiny: bool) -> Any:
    if not tiny:
        return models.efficientnet_b0(weights=None)
    block = partial(models.efficientnet.MBConvConfig, width_mult=1.0, depth_mult=1.0)
    setting = [block(1, 3, 1, 16, 16, 1), block(6, 3, 2, 16, 24, 2), block(6, 5, 2, 24, 32, 1)]
    return models.EfficientNet(setting, dropout=0.2, last_channel=64, num_classes=_CLASSES)


def _squeezenet1_1(tiny: bool) -> Any:
    return models.squeezenet1_1(weights=None, num_classes=_CLASSES if tiny else 1000)


def _densenet121(tiny: bool) -> Any:
    if tiny:
        return models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=_CLASSES)
    return models.densenet121(weights=None)


def _vit_b_16(tiny: bool) -> Any:
    if tiny:
        return models.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=_CLASSES)
    return models.vit_b_16(weights=None)


def _swin_t(tiny: bool) -> Any:
    if tiny:
        return models.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=_CLASSES)
    return models.swin_t(weights=None)


def _convnext_tiny(tiny: bool) -> Any:
    if not tiny:
        return models.convnext_tiny(weights=None)
    block = models.convnext.CNBlockConfig
    return models.ConvNeXt([block(16, 32, 2), block(32, None, 1)], num_classes=_CLASSES)


class _Segmentation(nn.Module):
    """Only the map of classes, without the dictionary around it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(image)["out"]
        return found


def _deeplabv3_mobilenet_v3(tiny: bool) -> Any:
    segmentation: Any = models.segmentation
    if not tiny:
        return _Segmentation(segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None))
    features = models.MobileNetV3(_v3_blocks(), last_channel=64, num_classes=_CLASSES).features
    body = nn.Sequential(OrderedDict([("features", features)]))
    body = models._utils.IntermediateLayerGetter(body, {"features": "out"})
    head = segmentation.deeplabv3.DeepLabHead(32 * 6, 5)
    return _Segmentation(segmentation.DeepLabV3(body, head, None))


def _images(full: tuple[int, int], small: tuple[int, int], batches: tuple[int, int] = (1, 1)) -> Any:
    """Image side at the first and second size, of the real and the tiny model."""

    def inputs(tiny: bool, second: bool) -> Inputs:
        side = (small if tiny else full)[second]
        return (torch.randn(batches[second], 3, side, side + (0 if batches[1] > 1 else 32 * second)),)

    return inputs


_ANY = _images((224, 192), (64, 96))


def _batch(name: str) -> Any:
    return lambda tiny: ({0: torch.export.Dim(name, min=1, max=8)},)


MODELS = [
    ZooModel("resnet18", _resnet18, _ANY),
    ZooModel("mobilenet_v2", mobilenet_v2, _ANY),
    ZooModel("mobilenet_v3_small", _mobilenet_v3_small, _ANY),
    ZooModel("efficientnet_b0", _efficientnet_b0, _ANY),
    ZooModel("squeezenet1_1", _squeezenet1_1, _ANY),
    ZooModel("densenet121", _densenet121, _ANY),
    ZooModel("vit_b_16", _vit_b_16, _images((224, 224), (32, 32), (2, 3)), _batch("n")),
    ZooModel("swin_t", _swin_t, _ANY),
    ZooModel("convnext_tiny", _convnext_tiny, _ANY),
    ZooModel("deeplabv3_mobilenet_v3", _deeplabv3_mobilenet_v3, _images((224, 160), (64, 96))),
]
