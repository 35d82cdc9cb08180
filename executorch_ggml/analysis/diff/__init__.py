"""Finding the first operation that goes wrong: ggml's values against a reference, one by one.

    from executorch_ggml.diff import diff_model, diff_pte
    report = diff_model(model, (torch.randn(1, 8),))     # against eager; each value has its source line
    report = diff_pte("model.pte", gguf="model.gguf")    # against the reference interpreter of the IR
    assert report.ok, report

``executorch-ggml diff`` is the same on the command line; docs/debugging.md says how to read it.
"""

from __future__ import annotations

from .compare import Errors, Tolerance, compare, tolerance_for
from .either import diff
from .model import diff_model
from .pte import diff_pte
from .report import Difference, DiffReport

__all__ = [
    "DiffReport",
    "Difference",
    "Errors",
    "Tolerance",
    "compare",
    "diff",
    "diff_model",
    "diff_pte",
    "tolerance_for",
]
