"""Removes assertions that the exporter has proved already, and those on data that no kernel here runs."""

from __future__ import annotations

from torch.export import ExportedProgram

from ._graph import GraphEditor, aten, nodes_of

_ASSERTS = (
    aten._assert_tensor_metadata.default,
    aten._assert_async.msg,
    aten._assert_async.default,
    aten._assert_scalar.default,
)


def remove_asserts(ep: ExportedProgram) -> bool:
    """Drop graph assertions in place. ExecuTorch drops the same ones later; before the patterns they are in the way."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, *_ASSERTS):
        editor.graph.erase_node(node)
        editor.changed = True
    # The tests of the assertions (comparisons of sizes) are dead now, but fx counts none of them as impure.
    return editor.finish()


class RemoveGraphAssertsPass:
    """`remove_asserts` as an object with `run(ep)`."""

    def run(self, ep: ExportedProgram) -> ExportedProgram:
        """Remove the assertions of `ep` in place and return it."""
        remove_asserts(ep)
        return ep

    def __call__(self, ep: ExportedProgram) -> ExportedProgram:
        """Same as `run`."""
        return self.run(ep)
