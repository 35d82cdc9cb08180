#!/usr/bin/env python3
"""A second opinion on the platform tags that build_backend.py gives to wheels: auditwheel's.

    python tools/wheels/audit.py dist/*.whl        # needs `pip install auditwheel`; Linux only

A wheel passes when its tag promises no older system than auditwheel allows, and when it needs no library but the
system's, ExecuTorch's and ours; a plug-in also its driver's. auditwheel cannot know the last three: pip installs them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from build_backend import DRIVER_LIBRARIES, OWN_LIBRARIES, PACKAGE

TAG = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)$")


def problems(report: dict[str, Any]) -> list[str]:
    """What is wrong with a wheel, from auditwheel's report on it (``auditwheel show --json``)."""
    name = str(report["wheel"])
    if "error" in report:
        return [f"{name}: {report['error']}"]
    found = []
    tag, theirs = TAG.search(name.removesuffix(".whl")), TAG.match(report["sym_tag"])
    if tag is None:
        found.append(f"{name}: the tag is not manylinux: nobody but this machine may install it")
    elif theirs is None:
        found.append(f"{name}: its symbols fit no manylinux platform (auditwheel: {report['sym_tag']})")
    elif tag[3] != theirs[3] or (int(tag[1]), int(tag[2])) < (int(theirs[1]), int(theirs[2])):
        found.append(f"{name}: its symbols need {report['sym_tag']} or newer")
    allowed = [OWN_LIBRARIES] if name.startswith(f"{PACKAGE}-") else [OWN_LIBRARIES, DRIVER_LIBRARIES]
    for library in report["external_libs"]:
        if not any(known.match(library) for known in allowed):
            found.append(f"{name}: it needs {library}, which neither the system nor pip brings")
    if report["unsupported_isa"]:
        found.append(f"{name}: a library runs on newer CPUs only, and says so in its ELF notes")
    return found


def audit(wheel: Path) -> list[str]:
    """Runs auditwheel on one wheel."""
    command = [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return problems(json.loads(done.stdout))
    except json.JSONDecodeError:
        return [f"{wheel.name}: auditwheel ended with {done.returncode}: {done.stderr.strip()[-1000:]}"]


def main(wheels: list[str]) -> int:
    """1 when a wheel does not pass, or when none was given."""
    if not wheels:
        print("audit.py: name the wheels to check", file=sys.stderr)
        return 1
    found = [line for wheel in wheels for line in audit(Path(wheel))]
    print("\n".join(found) or f"{len(wheels)} wheel(s): tags and libraries as auditwheel sees them")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
