"""Names of a model's scores, from model.json or from the vocabulary."""

from app.contract.model_spec import ModelSpec
from app.contract.steps import NextToken
from app.contract.tokenizer import Tokenizer


def labels_of(spec: ModelSpec, tokenizer: Tokenizer | None) -> tuple[str, ...]:
    """One name for each column of the scores; empty if the model does not classify.

    Args:
        spec: spec of the model.
        tokenizer: of a text model; None for others.
    """
    step = spec.postprocessing
    if step is None:
        return ()
    if isinstance(step, NextToken):
        assert tokenizer is not None  # ModelSpec accepts a next-token output only for text models
        return tokenizer.names
    return step.labels
