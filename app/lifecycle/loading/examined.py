"""Contracts of versions that other tools wrote, as far as runs confirm them."""

import logging
from dataclasses import replace

import numpy as np

from app.contract.derive import derive, without_batch
from app.contract.files.regular import shown
from app.contract.graph_facts import Stated
from app.contract.model_spec import ModelSpec
from app.errors import VersionRefused
from app.lifecycle.loading.samples import Samples
from app.lifecycle.loading.unverified import ROWS, examine
from app.lifecycle.loading.version_contract import VersionContract
from app.runtime.backend import Backend, take_rows
from app.runtime.engines.process_backend import ProcessBackend
from app.types import Array, Tensors

log = logging.getLogger("atelier.lifecycle")

# Signatures of one SavedModel besides the default one: each has its own queue.
MOST_SIGNATURES = 16


def other_contracts(backend: ProcessBackend, name: str) -> dict[str, VersionContract]:
    """The contracts of the other signatures; those that cannot be served are left out, and the log has the reasons."""
    contracts: dict[str, VersionContract] = {}
    for other in sorted(backend.signatures.keys() - {backend.signature}):
        try:
            if len(contracts) == MOST_SIGNATURES:
                raise VersionRefused(f"{MOST_SIGNATURES} others are served")
            spec, alone = derive(name, backend.signatures[other])
            contract = examined_contract(backend.sibling(other, spec), spec, alone, None)
            contracts[other] = named_contract(contract, backend, other)
        except VersionRefused as error:
            log.warning("model %s: signature %s is not served: %s", name, shown(other), error.message)
    return contracts


def named_contract(contract: VersionContract, backend: ProcessBackend, signature: str) -> VersionContract:
    """A contract with the name of its signature, and the defaults of that."""
    return replace(contract, signature=signature, defaults=backend.signatures[signature].defaults)


def examined_contract(
    backend: Backend, spec: ModelSpec, alone: str, stated: Stated | None, samples: Samples | None = None
) -> VersionContract:
    """The contract of a backend, as far as generated, stated or given inputs confirm it."""
    known, whose = (None if stated is None else stated.samples), "model_warmup"
    if samples is not None:
        known, whose = take_rows(samples.inputs, 0, ROWS), "the file of samples"
    ran, differs = examine(backend, spec, may_batch=not alone, known=known, whose=whose)
    is_whole = spec.batched and bool(differs)
    inputs, outputs = (ran, {}) if samples is None else (samples.inputs, samples.outputs)
    if is_whole:
        spec = without_batch(spec)
        inputs = None if inputs is None else _each_whole(inputs)
        outputs = _each_whole(outputs)
    return VersionContract(
        spec=spec,
        tokenizer=None,
        golden=None if samples is None or inputs is None else samples.golden(inputs, outputs),
        generated=inputs,
        alone=alone or differs,
        is_whole=is_whole,
        than="the golden sample",
    )


def _each_whole(rows: Tensors) -> dict[str, Array]:
    """Each row as a whole request with one instance."""
    return {name: values[:, np.newaxis] for name, values in rows.items()}
