"""The ahead-of-time half: from exported programs to payloads. It imports torch and never loads the native library."""

from executorch_ggml.errors.torch_missing import torch_missing

try:
    import torch  # noqa: F401 - torch sets up its loggers when it is imported, so it comes before they are quieted
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise torch_missing() from error

from .quiet import drop_known_warnings, quiet

drop_known_warnings()

with quiet():
    try:
        import executorch.exir  # noqa: F401 - it imports torchao, which warns of kernels that nobody asked for
    except ModuleNotFoundError as error:
        # ExecuTorch's runtime alone is there. The operators, and decoders made of them, need torch only.
        if not (error.name or "").startswith("executorch"):
            raise
