"""Changes that a model makes to its own arguments, left out of the program.

A runtime copies arguments into its own memory, so a caller never sees such a change. ExecuTorch returns the changed
argument as one more result, in front of the model's own. Here the results are those of the model.
"""

from __future__ import annotations

from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, OutputKind
from torch.fx import Node

from executorch_ggml.errors import UnsupportedError


def drop_argument_changes(ep: ExportedProgram) -> bool:
    """Remove changed arguments from the results of a functional program, in place; True if there was one.

    Raises:
        UnsupportedError: the model returns no tensor: all that it did was to change its arguments.
    """
    signature = ep.graph_signature
    changed = {i for i, s in enumerate(signature.output_specs) if s.kind is OutputKind.USER_INPUT_MUTATION}
    if not changed:
        return False
    output = next(n for n in ep.graph.nodes if n.op == "output")
    results: tuple[object, ...] = output.args[0]
    specs = [s for i, s in enumerate(signature.output_specs) if i not in changed]
    kept = [r for i, r in enumerate(results) if i not in changed]
    own = [r for s, r in zip(specs, kept, strict=True) if s.kind is OutputKind.USER_OUTPUT and isinstance(r, Node)]
    if not own:
        names = ", ".join(repr(signature.output_specs[i].target) for i in sorted(changed))
        raise UnsupportedError(
            f"the model returns nothing and changes its argument {names}, which no caller of a program would see; "
            "return the new value instead"
        )
    output.args = (tuple(kept),)
    ep._graph_signature = ExportGraphSignature(list(signature.input_specs), specs)
    ep.graph.eliminate_dead_code()
    ep.graph_module.recompile()
    return True
