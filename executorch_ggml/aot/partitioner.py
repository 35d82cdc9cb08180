"""GgmlPartitioner: decides by dry run which nodes ggml executes, and cuts the graph around the others."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.backend.partitioner import DelegationSpec, Partitioner, PartitionResult
from executorch.exir.backend.utils import tag_constant_data
from torch.export import ExportedProgram
from torch.fx import Node

from executorch_ggml.errors import UnsupportedError

from . import boundary, host_kernels, loadable, staging
from .backend import GgmlBackend, empty_sizes, encode_options
from .dry_run import Decisions, dry_run
from .explanation import describe
from .input_sizes import InputSizes
from .passes import name_arguments_apart, run_pre_decomposition, run_required, use_row_major_edge
from .program_view import ProgramView, WeightOptions
from .quantization import GgmlQuantConfig
from .registry import entries, lookup
from .rehearsal import rehearse

log = logging.getLogger(__name__)


class GgmlPartitioner(Partitioner):  # type: ignore[misc]
    """Delegates to ggml all nodes that the registry can lower exactly; the rest stays with ExecuTorch.

    Args:
        weights: ``"embedded"`` stores parameters in the ``.pte``, ``"external"`` stores only their names: a GGUF file
            supplies the data at load time. Buffers and constants that have data are stored. ``"auto"`` embeds those
            that have data and leaves parameters on the meta device external.
        expectations: facts that a GGUF's metadata must state for this graph (JSON-encodable scalars or lists).
        weight_alternatives: per parameter name, the keys to look for in order (``{"output.weight":
            ["output.weight", "token_embd.weight"]}``).
        external: names of parameters that a GGUF supplies although they have data. The others follow ``weights``.
        dequantize: convert external weights of matrix products to float32 once, when they are loaded: exact products,
            at up to eight times the memory.
        quant: store embedded matrices and embeddings quantised, see ``GgmlQuantConfig``.
        rewrites: run the pattern rewrites (RMSNorm, RoPE, attention ...) before decomposition.
        strict: refuse a program if an operator that costs time would stay with ExecuTorch (``hot`` in the report of
            ``explain``). Lowering then raises ``UndelegatedError``, which names each with its reason and source line.
        host_kernels: kernels that your runtime has beside ExecuTorch's own (``"aten::special_i0e.out"``). Lowering
            refuses a program that needs any other (``UnloadableError``).
    """

    def __init__(
        self,
        weights: str = "auto",
        *,
        expectations: Mapping[str, Any] | None = None,
        weight_alternatives: Mapping[str, Sequence[str]] | None = None,
        external: Collection[str] = (),
        dequantize: bool = False,
        quant: GgmlQuantConfig | None = None,
        rewrites: bool = True,
        strict: bool = False,
        host_kernels: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.options = WeightOptions(
            mode=weights,
            alternatives={k: list(v) for k, v in (weight_alternatives or {}).items()},
            expectations={k: json.dumps(v) for k, v in (expectations or {}).items()},
            dequantize=dequantize,
            quant=quant,
            external=frozenset(external),
        )
        self.rewrites = rewrites
        self.strict = strict
        self.host_kernels = frozenset(host_kernels)
        self._sizes = InputSizes()
        self.taken_apart: frozenset[Any] = frozenset()
        """Operators that are decomposed although a delegate could have them whole, see ``take_apart``."""
        self.host_states: frozenset[str] = frozenset()
        """Mutable buffers that stay with ExecuTorch although a delegate could own them."""
        self.decisions: Decisions | None = None
        """Why each node of the last program was taken or left."""

    @property
    def delegation_spec(self) -> DelegationSpec:
        """How the backend is to lower partitions: the options as they are now."""
        return DelegationSpec(GgmlBackend.__name__, [CompileSpec("ggml", encode_options(self.options))])

    # ---------------------------------------------------------------- hooks of to_edge_transform_and_lower

    def transform_for_pre_decomposition(self, exported_program: ExportedProgram) -> ExportedProgram:
        """Rewrites the ATen program (RMSNorm, RoPE, attention, batch norm ...) before anything is decomposed."""
        self._sizes.note(exported_program)
        if not self.rewrites:
            return run_required(exported_program)
        return run_pre_decomposition(exported_program, external=self.options.any_external)

    def ops_to_not_decompose(self, ep: ExportedProgram) -> tuple[list[torch._ops.OpOverload], None]:
        """Operators registered ``keep=True`` of which every node in the program is supported.

        Asked once more about the edge program that results, after all partitioners: there it is checked, and its
        arguments are named apart from its buffers.

        Raises:
            UnloadableError: the runtime could not load that program, or would refuse calls that export promised.
        """
        if ep.dialect == "EDGE":
            loadable.require(loadable.check(ep, self._sizes, self.host_kernels))
            name_arguments_apart(ep)
            return [], None
        nodes = [n for n in ep.graph.nodes if n.op == "call_function"]
        present = {n.target for n in nodes}
        keep = {e.target for e in entries() if e.keep and e.target in present}
        if keep:
            view = ProgramView(ep, self.options)
            decisions = dry_run(ep, view, only=keep)
            keep -= {n.target for n, reason in decisions.reasons.items() if reason and n.target in keep}
        # Operators that do not occur may still come out of a decomposition of another one.
        absent = {e.target for e in entries() if e.keep and e.target not in present and e.always_keep}
        return [target for target in (*keep, *absent) if target not in self.taken_apart], None

    def take_apart(self, operators: Collection[str]) -> bool:
        """Lets operators be decomposed that were kept whole for ggml, and then did not come into a delegate.

        Returns:
            Whether that can make a difference: there is a decomposition, and it was not used before.
        """
        from executorch.exir.tracer import _default_decomposition_table

        table = _default_decomposition_table()
        found = {e.target for e in entries() if e.keep and str(e.target) in operators and e.target in table}
        before = self.taken_apart
        self.taken_apart = before | found
        return self.taken_apart != before

    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        """Tags the nodes of each partition. Of the graph only orders in memory are changed: they become row-major."""
        use_row_major_edge(exported_program)
        view = ProgramView(exported_program, self.options)
        decisions = dry_run(exported_program, view, not_owned=self.host_states)
        stages: dict[Node, int] = {}
        # A state is owned by a delegate only when everything that touches it is in that one delegate. Where the cut
        # tears one apart, its writers go back to the host, which may move the cut: repeat until nothing changes.
        while True:
            stages = self._cut(exported_program, view, decisions)
            torn = [b for b in decisions.states if not _together(decisions.states[b].members, stages)]
            refused = {} if torn else rehearse(exported_program, view, stages, decisions.states)
            if not torn and not refused:
                break
            for name in torn:
                log.debug("buffer %s stays with ExecuTorch: not all of its uses are in one delegate", name)
            refused = {**decisions.refused, **refused}
            decisions = dry_run(exported_program, view, not_owned=decisions.not_owned | set(torn), refused=refused)
        self.decisions = decisions
        decisions.stages = stages
        if self.options.any_external:
            _require_parameters_inside(exported_program, view, decisions)
        if self.strict:
            describe(exported_program, decisions).require_delegated()
        tags: dict[str, DelegationSpec] = {}
        empty = self._sizes.may_be_empty(exported_program)
        specs = [*self.delegation_spec.compile_specs, *([empty_sizes(empty)] if empty else [])]
        spec = DelegationSpec(GgmlBackend.__name__, specs)
        for node, stage in stages.items():
            tag = f"ggml_{stage}"
            node.meta["delegation_tag"] = tag
            tags[tag] = spec
        for node, reason in decisions.reasons.items():
            if node not in stages:
                node.meta[loadable.REFUSED] = reason
        tag_constant_data(exported_program)
        for state in decisions.states.values():
            state.placeholder.meta["delegation_tag"] = f"ggml_{stages[state.members[0]]}"
        for node in exported_program.graph.nodes:
            if view.is_mutated(node) and view.name_of(node) not in decisions.states:
                node.meta["et_init_buffer"] = True  # else ExecuTorch leaves it to chance
        return PartitionResult(tagged_exported_program=exported_program, partition_tags=tags)

    def _needs_us(self, node: Node) -> bool:
        """Whether ExecuTorch could not run a node (a sort of integers)."""
        return _yields_tensors(node) and bool(host_kernels.missing(node, self.host_kernels))

    def _cut(self, ep: ExportedProgram, view: ProgramView, decisions: Decisions) -> dict[Node, int]:
        def constant(node: Node) -> bool:
            return view.name_of(node) is not None and not view.is_mutated(node)

        boundary.settle(ep.graph.nodes, decisions, constant)
        stages = staging.assign(ep.graph.nodes, decisions.is_supported, constant)
        staging.merge_getitems(stages, decisions.getitems)
        # If everything is supported, there is no host operator to move data for. Without host operators the program
        # needs no operator library at run time. So even nodes that only move data go to the delegate then.
        if all(reason == "" for node, reason in decisions.reasons.items() if _yields_tensors(node)):
            return stages
        useful: set[int] = set()
        for node, stage in stages.items():
            entry = lookup(node.target)
            if (entry is None or not entry.moves) and (_touches_floats(node) or self._needs_us(node)):
                useful.add(stage)
        for node in [n for n, s in stages.items() if s not in useful]:
            del stages[node]
            decisions.reasons[node] = boundary.ONLY_MOVES
        return stages


def _require_parameters_inside(ep: ExportedProgram, view: ProgramView, decisions: Decisions) -> None:
    """Refuses a program of which an operator outside ggml reads a parameter that a file is to bring."""
    for node in ep.graph.nodes:
        if node.op != "call_function" or node in decisions.stages:
            continue
        for source in node.all_input_nodes:
            if source.name in ep.graph_signature.inputs_to_parameters and view.is_external(source):
                raise UnsupportedError(
                    f"a file brings {view.name_of(source)}, but {node.name} ({node.target}) runs outside ggml and "
                    f"would compute with its present data: {decisions.reasons.get(node) or 'not delegated'}"
                )


def _yields_tensors(node: Node) -> bool:
    return isinstance(node.meta.get("val"), (torch.Tensor, tuple, list))


def _touches_floats(node: Node) -> bool:
    """Whether a node reads or yields floats: a delegate for nothing but positions and masks is not worth its call."""
    values = [node.meta.get("val"), *(i.meta.get("val") for i in node.all_input_nodes)]
    flat = [v for val in values for v in (val if isinstance(val, (tuple, list)) else (val,))]
    return any(isinstance(v, torch.Tensor) and v.dtype.is_floating_point for v in flat)


def _together(members: Sequence[Node], stages: Mapping[Node, int]) -> bool:
    found = {stages.get(n) for n in members}
    return len(found) == 1 and None not in found
