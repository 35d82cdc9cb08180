"""Published checkpoints, read tensor by tensor: safetensors (one file or shards) and NeMo archives."""

from __future__ import annotations

import json
import logging
import os
import pickle
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from executorch_ggml.errors import BindError, FileError, FormatError, LibraryError
from executorch_ggml.errors.files import check_regular, open_regular

__all__ = ["Checkpoint", "NemoArchive", "SafetensorsCheckpoint", "missing_and_extra", "open_checkpoint", "read_json"]

logger = logging.getLogger(__name__)


class Checkpoint(Mapping[str, torch.Tensor]):
    """Tensors by name. Each access reads the tensor anew: nobody holds the whole model.

    folder: where the files that belong to it (configuration, tokenizer) lie.
    """

    folder: Path


class SafetensorsCheckpoint(Checkpoint):
    """`*.safetensors` of one model: a file, or all that an index names.

    Raises FileError, FormatError (a malformed file), LibraryError (the package safetensors is missing).
    """

    def __init__(self, path: Path) -> None:
        try:
            from safetensors import SafetensorError, safe_open
        except ImportError as error:
            raise LibraryError("reading safetensors takes a package: pip install 'executorch-ggml[speech]'") from error
        self.folder = path.parent
        files = [path]
        if path.suffix == ".json":
            files = [path.parent / name for name in sorted(set(read_json(path).get("weight_map", {}).values()))]
        self._where: dict[str, Any] = {}
        for file in files:
            if not file.exists():
                raise FileError(f"{file}: there is no such file, though {path.name} names it")
            try:
                opened = safe_open(file, framework="pt", device="cpu")  # type: ignore[no-untyped-call, unused-ignore]
                handle: Any = opened
                self._where.update(dict.fromkeys(handle.keys(), handle))
            except SafetensorError as error:
                raise FormatError(f"{file}: not a safetensors file: {error}") from error

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._where[name].get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


class NemoArchive(Checkpoint):
    """A `.nemo` file: a tar of `model_weights.ckpt`, `model_config.yaml` and related files.

    It is unpacked to a temporary folder that lives as long as this object. Raises FormatError.
    """

    def __init__(self, path: Path) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="executorch-ggml-nemo-")
        self.folder = Path(self._temporary.name)
        try:
            with tarfile.open(path) as archive:
                archive.extractall(self.folder, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise FormatError(f"{path}: not a NeMo archive: {error}") from error
        weights = self.file("model_weights.ckpt", path)
        try:
            self._tensors = torch.load(weights, map_location="cpu", mmap=True, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise FormatError(f"{path}: model_weights.ckpt cannot be read: {error}") from error

    def file(self, name: str, archive: Path) -> Path:
        """A file of the archive, wherever in it. Raises FormatError when it is missing."""
        found = sorted(self.folder.rglob(name))
        if not found:
            raise FormatError(f"{archive}: the archive has no {name}")
        return found[0]

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._tensors[name]
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def open_checkpoint(path: str | os.PathLike[str], names: tuple[str, ...] = ()) -> Checkpoint:
    """A checkpoint: a `.safetensors` or `.nemo` file, or a folder with one.

    names: file names to prefer in a folder. Raises FileError when there is none, and the errors of reading it.
    """
    target = Path(path)
    if target.is_dir():
        wanted = (*names, "model.safetensors.index.json", "model.safetensors")
        found = [target / n for n in wanted if (target / n).exists()] or sorted(target.glob("*.nemo"))
        if not found:
            raise FileError(f"{target}: the folder has no model.safetensors, no index of shards and no .nemo file")
        target = found[0]
    check_regular(target)
    logger.info("reading %s", target)
    return NemoArchive(target) if target.suffix == ".nemo" else SafetensorsCheckpoint(target)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises FileError, FormatError."""
    try:
        with open_regular(path) as file:
            value = json.loads(file.read().decode("utf-8"))
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise FormatError(f"{path}: no JSON: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path}: a JSON object was expected, not a {type(value).__name__}")
    return value


def missing_and_extra(where: str, wanted: Mapping[str, object], present: Mapping[str, object]) -> None:
    """Raises BindError naming tensors that are wanted and not there, or there and not wanted."""
    problems = []
    for what, names in (
        ("missing", sorted(wanted.keys() - present.keys())),
        ("unknown", sorted(present.keys() - wanted.keys())),
    ):
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            problems.append(f"{what}: {shown}")
    if problems:
        raise BindError(
            f"{where}: its tensors are not those of the model its configuration describes: {'; '.join(problems)}"
        )
