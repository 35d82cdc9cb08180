"""``executorch-ggml devices``: the devices of this machine."""

from __future__ import annotations

from dataclasses import asdict

from .options import AsJson, echo, print_json, size


def devices(as_json: AsJson = False) -> None:
    """List the devices that the installed backends see."""
    from rich.console import Console
    from rich.table import Table

    # Late: --help and other commands start without it.
    from executorch_ggml.runtime.devices import build_info, default_threads
    from executorch_ggml.runtime.devices import devices as list_devices

    found = list_devices()
    if as_json:
        print_json([asdict(device) for device in found])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "type", "description", "memory", "free", "usable"):
        table.add_column(column, overflow="fold")
    for device in found:
        table.add_row(
            device.name,
            device.type,
            device.description,
            size(device.memory_total),
            size(device.memory_free),
            "yes" if device.usable else f"no: {device.reason}",
        )
    Console().print(table)
    echo(f"\ncompute threads by default: {default_threads()}")
    echo(f"library: {build_info()['path']}")
