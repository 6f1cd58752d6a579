"""IMDB Large Movie Review Dataset v1.0: 25,000 + 25,000 labelled reviews.

Two forms are accepted: the makers' ``aclImdb_v1.tar.gz``, and ``train.csv.gz`` + ``test.csv.gz`` with the columns
``label,text`` in the order neg/0, pos/0, neg/1, pos/1, ... Both give the same rows in the same order.

Source: Maas, Daly, Pham, Huang, Ng, Potts, "Learning Word Vectors for Sentiment Analysis", ACL-HLT 2011, pp. 142-150.
"""

import csv
import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.bounds import Bounded, Count, Seed, ShareBelowOne
from training.datasets.archive import Archive, checksums, find, obtain
from training.datasets.splits import Examples, Splits, split_synthetic
from training.errors import DataDamaged
from training.overrides import FIXED

SENTIMENT_LABELS = ("negative", "positive")
FOLDER = "sentiment"
OVERLAP_FILE = "test_rows_also_in_train.txt"
MAKERS = Archive(
    name="aclImdb_v1.tar.gz",
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    md5="7c2ac02c03563afcf9b574c7e56c153a",
)

_MEMBER = re.compile(r"(?:^|/)(train|test)/(neg|pos)/(\d+)_\d+\.txt$")


@dataclass(frozen=True, kw_only=True)
class Imdb(Bounded):
    """Settings of the data set.

    Attributes:
        validation_share: share of the training rows that are used for validation; they are taken in blocks.
        block_rows: consecutive rows that stay together, because neighbours often review the same film.
        split_seed: seed of the choice of blocks and of the order of the training rows.
        synthetic_count: size of the train part with ``--dataset synthetic``.
    """

    validation_share: ShareBelowOne = 0.1
    block_rows: Count = 100
    split_seed: Seed = 0
    synthetic_count: Count = 2000
    archive: Archive = field(default=MAKERS, metadata=FIXED)

    def load(self) -> Splits:
        """Read the form that is on disk; see ``DataSource.load``."""
        train_csv, test_csv = find("train.csv.gz", folder=FOLDER), find("test.csv.gz", folder=FOLDER)
        read_test: Callable[[], Examples]
        if train_csv and test_csv and not find(self.archive.name, folder=FOLDER):
            form, files = "label,text CSV", checksums(train_csv, test_csv)
            everything = read_csv(train_csv)
            read_test = lambda: _without_overlap(read_csv(test_csv), everything, find(OVERLAP_FILE, folder=FOLDER))  # noqa: E731
        else:
            path = obtain(self.archive, folder=FOLDER)
            form, files = "makers' tar", checksums(path)
            everything = read_tar(path, part="train")
            read_test = lambda: _without_overlap(read_tar(path, part="test"), everything, None)  # noqa: E731
        train, validation = self._split(everything)
        return Splits(
            name="IMDB Large Movie Review Dataset v1.0",
            form=form,
            files=files,
            labels=SENTIMENT_LABELS,
            train=everything.take(train),
            validation=everything.take(validation),
            read_test=read_test,
        )

    def synthetic(self) -> Splits:
        """Template sentences instead of reviews."""
        return split_synthetic(_write, labels=SENTIMENT_LABELS, count=self.synthetic_count, seed=self.split_seed)

    def _split(self, everything: Examples) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Row numbers of train (shuffled) and of validation (by blocks, without texts that are also in train)."""
        generator = np.random.default_rng(self.split_seed)
        block = np.arange(len(everything)) // self.block_rows
        blocks = generator.permutation(block[-1] + 1)
        chosen = blocks[: max(1, round(self.validation_share * len(blocks)))]
        validates = np.isin(block, chosen)
        train = generator.permutation(np.flatnonzero(~validates))
        seen = {everything.instances[row] for row in train}
        validation = [row for row in np.flatnonzero(validates) if everything.instances[row] not in seen]
        return train, np.array(validation, np.intp)


def _write(count: int, seed: int) -> Examples:
    from training.datasets.drawn.synthetic import sentences

    texts, labels = sentences(count, seed=seed)
    return Examples(instances=tuple(texts), labels=labels.astype(np.int32))


def _without_overlap(test: Examples, train: Examples, listed: Path | None) -> Examples:
    """The test rows whose text is not in the training set: from the list next to the files, or by comparison."""
    if listed is not None:
        skipped = {int(line) for line in listed.read_text(encoding="utf-8").split()}
    else:
        seen = set(train.instances)
        skipped = {row for row, text in enumerate(test.instances) if text in seen}
    return test.take(np.array([row for row in range(len(test)) if row not in skipped], np.intp))


def read_csv(path: Path) -> Examples:
    """Reviews of a gzip CSV with the columns label (0 or 1) and text.

    Raises:
        DataDamaged: not gzip, not UTF-8, another header, or another label.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            if (header := next(rows, None)) != ["label", "text"]:
                raise ValueError(f"its header is {header}, not label,text")
            pairs = [(("0", "1").index(label), text) for label, text in rows]
    except (OSError, EOFError, zlib.error, ValueError, csv.Error) as error:
        raise DataDamaged(f"{path} is not a CSV of reviews: {error}") from error
    return Examples(
        instances=tuple(text for _, text in pairs), labels=np.array([label for label, _ in pairs], np.int32)
    )


def read_tar(path: Path, *, part: str) -> Examples:
    """Reviews of ``train/`` or ``test/`` in the makers' archive, ordered neg/0, pos/0, neg/1, pos/1, ...

    Raises:
        DataDamaged: not a tar, or no reviews in it.
    """
    texts: dict[tuple[int, int], str] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                match = _MEMBER.search(member.name)
                if match and match[1] == part and (file := archive.extractfile(member)):
                    text = io.TextIOWrapper(file, encoding="utf-8", newline="").read()
                    texts[int(match[3]), ("neg", "pos").index(match[2])] = text
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        raise DataDamaged(f"{path} is not the makers' archive: {error}") from error
    if not texts:
        raise DataDamaged(f"{path} holds no reviews under {part}/neg or {part}/pos")
    order = sorted(texts)
    return Examples(
        instances=tuple(texts[key] for key in order), labels=np.array([label for _, label in order], np.int32)
    )
