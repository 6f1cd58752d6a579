"""Pipeline of networks that foretell the next token of a text.

Training takes windows of running text and foretells each of their tokens; measuring asks for each token of a passage
what the served network asks: the tokens before it, as many as it may read. Imports no TensorFlow.
"""

from dataclasses import dataclass, field

from app.contract.tokenizer import Scheme, Tokenizer, most_frequent_tokens
from training.datasets.splits import Examples
from training.overrides import FIXED
from training.pipelines import Feed


@dataclass(frozen=True, kw_only=True)
class NextTokenPipeline:
    """Token ids of ``contract.tokenizer``, from passages of running text.

    Attributes:
        vocabulary_size: most ids, padding and unknown included.
        max_length: most tokens that the network reads, and the length of a training window.
        scheme: how text is split.
        word_dropout: share of the tokens read, not of those foretold, that become the unknown token.
    """

    input_name: str = field(default="token_ids", metadata=FIXED)
    vocabulary_size: int
    max_length: int
    scheme: Scheme = "lines"
    word_dropout: float = 0.0

    def bind(self, train: Examples, *, classes: int) -> Feed:
        """The feed with a vocabulary of the most frequent tokens of ``train``, and of nothing else."""
        from training.next_token_batches import NextTokenFeed

        assert isinstance(train.instances, tuple)  # a text recipe has a text data set
        tokens = most_frequent_tokens(train.instances, limit=self.vocabulary_size - 2, scheme=self.scheme)
        tokenizer = Tokenizer(tokens, max_length=self.max_length, keep="last", scheme=self.scheme)
        return NextTokenFeed(pipeline=self, tokenizer=tokenizer)
