"""Names of Hugging Face's modules in a GGUF, by the table of the `gguf` package (its converters use the same)."""

from __future__ import annotations

from executorch_ggml.errors import UnsupportedError
from executorch_ggml.gguf.header import GgufHeader

__all__ = ["Translation"]

# For these, the converter writes every weight as the module has it. Others permute the rows of q and k (Llama),
# add 1 to norms (Gemma), or stack experts: their graph would compute with other numbers.
_AS_THEY_ARE = ("phi3", "qwen2", "qwen3")
_SUFFIXES = (".weight", ".bias")


class Translation:
    """From a parameter of a Hugging Face model to the tensor of the file.

    Raises UnsupportedError for an architecture that keeps weights differently in its files.
    """

    def __init__(self, header: GgufHeader) -> None:
        import gguf  # late: it takes a moment, and binding by other names does not need it

        name = str(header.get("general.architecture", ""))
        if name not in _AS_THEY_ARE:
            raise UnsupportedError(
                f"{header.path}: names='hf' is for architectures that keep each weight as the module does: "
                f"{', '.join(_AS_THEY_ARE)}. This is {name!r}; give names= as a mapping and check the result with "
                "load_gguf"
            )
        architecture = next(a for a, text in gguf.MODEL_ARCH_NAMES.items() if text == name)
        blocks = header.get(f"{name}.block_count", 0)
        self._names = gguf.get_tensor_name_map(architecture, blocks if isinstance(blocks, int) else 0)

    def key(self, name: str) -> str:
        """The tensor's name; ``name`` itself, if the table has none."""
        rest = name
        while True:
            found = self._names.get_name(rest, try_suffixes=_SUFFIXES)
            if found is not None:
                return str(found)
            if "." not in rest:
                return name
            rest = rest.partition(".")[2]
