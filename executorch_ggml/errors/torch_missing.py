"""The error of everything that needs torch, where a plain install brings none."""

from __future__ import annotations

from . import LibraryError


def torch_missing() -> LibraryError:
    return LibraryError(
        "exporting and explaining need torch, running a .pte does not: pip install 'executorch-ggml[export]' "
        "(in a checkout: pip install '.[export]')"
    )
