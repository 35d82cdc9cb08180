"""``executorch-ggml devices``: the devices of this machine."""

from __future__ import annotations

from dataclasses import asdict

from executorch_ggml.errors.tables import table

from .options import AsJson, echo, print_json, size


def devices(as_json: AsJson = False) -> None:
    """List the devices that the installed backends see."""
    # Late: --help and other commands start without it.
    from executorch_ggml.runtime.devices import build_info, default_threads
    from executorch_ggml.runtime.devices import devices as list_devices

    found = list_devices()
    if as_json:
        print_json([asdict(device) for device in found])
        return
    rows = []
    for device in found:
        usable = "yes" if device.usable else f"no: {device.reason}"
        memory = size(device.memory_total), size(device.memory_free)
        rows.append((device.name, device.type, device.description, *memory, usable))
    echo(table(rows, ("name", "type", "description", "memory", "free", "usable"), right=(3, 4)))
    echo(f"\ncompute threads by default: {default_threads()}")
    echo(f"library: {build_info()['path']}")
