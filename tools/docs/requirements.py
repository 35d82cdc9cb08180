#!/usr/bin/env python3
"""Prints what the documentation needs, so that it can be built without building the package.

python tools/docs/requirements.py > requirements.txt
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
print("\n".join(project["optional-dependencies"]["docs"]))
