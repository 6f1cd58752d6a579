"""From opened instances to a LoadedModel: the rules of its batches, its queue and its batcher."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.batching.admission import Admission
from app.batching.batcher import Batcher
from app.batching.instances import Instance
from app.batching.loop_rest import LoopRest
from app.batching.rules import BatchRules, resolve
from app.batching.work import BatchObserver
from app.contract.device import CPU
from app.contract.labels import labels_of
from app.drift.watch import DriftSettings, DriftWatch
from app.errors import BackendFailed, VersionRefused
from app.lifecycle.loading.device_choice import Placed, largest_difference
from app.lifecycle.loading.memory_need import NO_MEMORY, MemoryNeed
from app.lifecycle.loading.verification import Gate
from app.lifecycle.loading.version_contract import VersionContract, largest_batch
from app.loaded import LoadedModel
from app.repository.policy import ServingPolicy
from app.runtime.backend import Backend
from app.runtime.engines.process_backend import ProcessBackend
from app.runtime.router import slowest
from app.runtime.warmup import LatencyCurve
from app.types import Clock

log = logging.getLogger("atelier.lifecycle")


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """Builds the loaded model from the instances of one version.

    Attributes:
        name, version: of the model.
        serving: its settings.
        observer, inline_below_s, pixel_limit, clock, loop_rest, drift: see ``Loader``.
    """

    name: str
    version: int
    serving: ServingPolicy
    observer: BatchObserver
    inline_below_s: float
    pixel_limit: int
    clock: Clock
    loop_rest: LoopRest | None
    drift: DriftSettings | None

    def gate(self, contract: VersionContract) -> Gate:
        """The checks that every instance must pass.

        Raises:
            VersionRefused: see ``largest_batch``.
        """
        stated = self.serving.batching.max_batch_size
        largest = largest_batch(contract, stated)
        return Gate(contract, max_batch_size=largest, is_stated=stated is not None, clock=self.clock)

    def loaded(
        self,
        contract: VersionContract,
        opened: Sequence[Placed],
        signatures: Mapping[str, LoadedModel] | None = None,
        *,
        memory: MemoryNeed = NO_MEMORY,
    ) -> LoadedModel:
        """A loaded model that serves one contract with these instances.

        Args:
            contract: of them.
            opened: verified.
            signatures: what serves the others.
            memory: that all instances take; none for a signature that shares them.

        Raises:
            VersionRefused: see ``resolve``.
        """
        spec, policy = contract.spec, self.serving.batching
        inline = len(opened) == 1 and opened[0].backend.runs_inline  # several instances have a thread each
        curve = slowest([each.curve for each in opened])
        rules = resolve(policy, spec, curve, inline_below_s=self.inline_below_s if inline else 0.0)
        rules = _limit_calls([each.backend for each in opened], rules, curve)
        admission = Admission(
            policy.max_queue_rows,
            policy.max_queue_bytes,
            max_queue_s=policy.max_queue_s,
            levels=rules.priority_levels,
            instances=len(opened),
        )
        drift = None
        if self.drift is not None and contract.measures:
            drift = DriftWatch(contract.measures, self.drift, self.clock)
        batcher = Batcher(
            instances=[
                Instance(
                    each.backend,
                    each.placement,
                    each.condition,
                    f"model {self.name} version {self.version} on {each.placement.device}",
                    loop_rest=self._rest_for(each),
                )
                for each in opened
            ],
            rules=rules,
            curve=curve,
            admission=admission,
            observer=self.observer,
            clock=self.clock,
            finite_output=spec.postprocessing.output if spec.postprocessing is not None else None,
            sampler=drift,
        )
        return LoadedModel(
            name=self.name,
            version=self.version,
            spec=spec,
            tokenizer=contract.tokenizer,
            classes=labels_of(spec, contract.tokenizer),
            batcher=batcher,
            admission=admission,
            curve=curve,
            golden_difference=largest_difference(opened),
            unverified=contract.unverified,
            provider=opened[0].backend.provider,
            default_timeout_s=policy.default_timeout_ms / 1e3,
            pixel_limit=self.pixel_limit,
            max_text_characters=self.serving.max_text_characters,
            batching=policy,
            load_settings=self.serving.load_settings,
            memory_bytes=memory.size_bytes,
            memory_is_measured=memory.is_measured,
            signatures=signatures or {},
            signature=contract.signature,
            drift=drift,
            typical=contract.typical,
            said=contract.said,
            defaults={name: contract.defaults[name] for name in spec.given_optional(contract.defaults)},
        )

    def _rest_for(self, placed: Placed) -> LoopRest | None:
        """For an instance that computes in this process, on the CPU."""
        computes_here = placed.placement.device == CPU and not isinstance(placed.backend, ProcessBackend)
        return self.loop_rest if computes_here else None

    def other_signatures(
        self, contracts: Mapping[str, VersionContract], opened: Sequence[Placed]
    ) -> dict[str, LoadedModel]:
        """Loaded models of the other signatures of a SavedModel, in the processes of the default one.

        One that cannot be served is left out, and the log has the reason.
        """
        found = {}
        for signature, contract in contracts.items():
            try:
                gate = self.gate(contract)
                views = [
                    Placed.of(gate.verify(each.backend.sibling(signature, contract.spec), CPU), each.placement)
                    for each in opened
                    if isinstance(each.backend, ProcessBackend)
                ]
                found[signature] = self.loaded(contract, views)
            except (VersionRefused, BackendFailed) as error:
                log.warning("model %s: signature %s is not served: %s", self.name, signature, error.message)
        return found


def _limit_calls(backends: Sequence[Backend], rules: BatchRules, curve: LatencyCurve) -> BatchRules:
    """Let backends that can end a call which hangs do so after ``max_execution_ms``; returns the rules with that time.

    It fails that one batch then. The watchdog, which gives up the whole instance, comes later, and should never.
    """
    limit_s = rules.most_seconds_allowed(curve)
    grace_s = [late_s for each in backends if (late_s := each.limit_calls(limit_s)) is not None]
    return replace(rules, max_execution_s=limit_s, grace_s=max(grace_s)) if grace_s else rules
