"""Tiny Shakespeare: 40,000 lines of the plays as one text, in which blank lines separate the speeches.

Source: Karpathy, "The Unreasonable Effectiveness of Recurrent Neural Networks" (2015) and the repository char-rnn that
came with it; the text itself is in the public domain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from training.bounds import Bounded, Count, Seed, ShareBelowOne
from training.datasets.archive import Archive, checksums, obtain
from training.datasets.splits import Examples, Splits
from training.errors import DataDamaged
from training.overrides import FIXED

FOLDER = "tinyshakespeare"
SPEECH_END = "\n\n"
MAKERS = Archive(
    name="input.txt",
    url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    md5="6fb458f1232090904fb40fe944165e91",
)


@dataclass(frozen=True, kw_only=True)
class TinyShakespeare(Bounded):
    """Passages of consecutive speeches; validation and test take whole passages.

    Attributes:
        speeches: number of speeches in a passage.
        validation_share, test_share: of the passages, at least one of each.
        split_seed: seed of the choice.
        synthetic_count: passages of all parts together with ``--dataset synthetic``.
    """

    speeches: Count = 40
    validation_share: ShareBelowOne = 0.05
    test_share: ShareBelowOne = 0.05
    split_seed: Seed = 0
    synthetic_count: Count = 40
    archive: Archive = field(default=MAKERS, metadata=FIXED)

    def load(self) -> Splits:
        """Read the makers' file; see ``DataSource.load``."""
        path = obtain(self.archive, folder=FOLDER)
        try:
            speeches = path.read_text(encoding="utf-8").strip().split(SPEECH_END)
        except UnicodeDecodeError as error:
            raise DataDamaged(f"{path} is not UTF-8: {error}") from error
        return self._split(speeches, name="Tiny Shakespeare", form="makers' text", files=checksums(path))

    def synthetic(self) -> Splits:
        """Verses of our own instead of the plays."""
        from training.datasets.drawn.verse_templates import write_speeches

        count = self.synthetic_count * self.speeches
        return self._split(write_speeches(count, seed=self.split_seed), name="synthetic", form="synthetic", files={})

    def _split(self, speeches: list[str], *, name: str, form: str, files: Mapping[str, str]) -> Splits:
        parts = range(0, len(speeches), self.speeches)
        passages = [SPEECH_END.join(speeches[start : start + self.speeches]) + SPEECH_END for start in parts]
        order = np.random.default_rng(self.split_seed).permutation(len(passages))
        validate, test = (max(1, round(share * len(passages))) for share in (self.validation_share, self.test_share))
        held = {"validation": order[:validate], "test": order[validate : validate + test]}

        def take(rows: np.ndarray) -> Examples:
            return Examples(
                instances=tuple(passages[row] for row in sorted(rows)), labels=np.zeros(len(rows), np.int32)
            )

        return Splits(
            name=name,
            form=form,
            files=files,
            labels=(),
            train=take(order[validate + test :]),
            validation=take(held["validation"]),
            read_test=lambda: take(held["test"]),
        )
