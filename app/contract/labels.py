"""What the scores of a model stand for, whether model.json lists it or the vocabulary does."""

from app.contract.model_spec import ModelSpec
from app.contract.steps import NextToken
from app.contract.tokenizer import Tokenizer


def labels_of(spec: ModelSpec, tokenizer: Tokenizer | None) -> tuple[str, ...]:
    """One name for each column of the scores; empty if the model does not classify.

    Args:
        spec: of the model.
        tokenizer: of a text model.
    """
    step = spec.postprocessing
    if step is None:
        return ()
    if isinstance(step, NextToken):
        assert tokenizer is not None  # ModelSpec refuses the next token of anything but text
        return tokenizer.names
    return step.labels
