import csv
import gzip
import hashlib
import io
import tarfile

import pytest

from training.datasets.archive import Archive
from training.datasets.imdb import Imdb
from training.errors import DataDamaged, DataMissing

COUNT = 30  # of each class in the training part


def reviews(part: str) -> list[tuple[str, int, str]]:
    """(class, number, text) in the order neg/0, pos/0, neg/1, ...; test neg/2 and pos/3 are also in train."""
    rows = [
        (label, number, f'{part} {label} {number}: a <br />film, "so" to say\u2028yes')
        for number in range(COUNT if part == "train" else 5)
        for label in ("neg", "pos")
    ]
    if part == "test":
        rows = [
            (label, number, text.replace("test", "train") if (label, number) in {("neg", 2), ("pos", 3)} else text)
            for label, number, text in rows
        ]
    return rows


def write_csv(directory, *, listed: bool) -> None:
    for part in ("train", "test"):
        with gzip.open(directory / f"{part}.csv.gz", "wt", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("label", "text"))
            writer.writerows((("neg", "pos").index(label), text) for label, _, text in reviews(part))
    if listed:
        (directory / "test_rows_also_in_train.txt").write_text("4\n7\n")


def write_tar(path) -> Archive:
    with tarfile.open(path, "w:gz") as archive:
        for part in ("test", "train"):
            for label, number, text in reversed(reviews(part)):
                member = tarfile.TarInfo(f"aclImdb/{part}/{label}/{number}_{7 if label == 'pos' else 3}.txt")
                data = text.encode()
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        for other in ("aclImdb/train/unsup/0_0.txt", "aclImdb/README", "aclImdb/train/urls_pos.txt"):
            archive.addfile(tarfile.TarInfo(other))
    return Archive(name=path.name, url="file:///no such file", md5=hashlib.md5(path.read_bytes()).hexdigest())


def rows(part) -> list[tuple[str, int]]:
    return list(zip(part.instances, part.labels.tolist(), strict=True))


def test_both_formats_give_the_same_rows_without_the_overlap(data_directory, tmp_path, monkeypatch):
    (data_directory / "sentiment").mkdir()
    write_csv(data_directory / "sentiment", listed=True)
    plain = Imdb(block_rows=10).load()
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("ATELIER_DATA_DIR", str(other))
    makers = Imdb(block_rows=10, archive=write_tar(other / "aclImdb_v1.tar.gz")).load()
    assert (plain.form, makers.form) == ("label,text CSV", "makers' tar")
    assert set(plain.files) == {"train.csv.gz", "test.csv.gz"}
    for part in ("train", "validation"):
        assert rows(getattr(plain, part)) == rows(getattr(makers, part))
    assert rows(plain.read_test()) == rows(makers.read_test())
    expected = [text for label, number, text in reviews("test") if (label, number) not in {("neg", 2), ("pos", 3)}]
    assert list(plain.read_test().instances) == expected
    assert all(("pos" in text) == label for text, label in rows(plain.train))


def test_the_overlap_is_computed_without_a_list_next_to_the_files(data_directory):
    write_csv(data_directory, listed=False)
    assert len(Imdb().load().read_test()) == 8


def test_validation_takes_whole_blocks_of_neighbours(data_directory):
    write_csv(data_directory, listed=True)
    splits = Imdb(block_rows=10, validation_share=0.34).load()
    assert (len(splits.train), len(splits.validation)) == (40, 20)
    order = [text for _, _, text in reviews("train")]
    places = sorted(order.index(text) for text in splits.validation.instances)
    assert {place // 10 for place in places} == {places[0] // 10, places[-1] // 10}
    assert [order.index(text) for text in splits.train.instances] != sorted(
        order.index(text) for text in splits.train.instances
    )


def test_a_review_that_trains_does_not_also_validate(data_directory):
    write_csv(data_directory, listed=False)
    with gzip.open(data_directory / "train.csv.gz", "wt", encoding="utf-8", newline="") as file:
        file.write("label,text\n" + "0,the same words\n" * 40)
    assert len(Imdb(block_rows=10).load().validation) == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(b"text,label\nfine,1\n"), "not label,text"),
        (gzip.compress(b"label,text\n2,fine\n"), "not a CSV of reviews"),
        (gzip.compress(b"label,text\n1,\xff\n"), "utf-8"),
        (b"label,text\n1,fine\n", "gzip"),
    ],
    ids=["header", "label", "encoding", "compression"],
)
def test_a_damaged_csv_is_refused(data_directory, content, reason):
    (data_directory / "train.csv.gz").write_bytes(content)
    (data_directory / "test.csv.gz").touch()
    with pytest.raises(DataDamaged, match=reason):
        Imdb().load()


def test_with_neither_form_the_makers_archive_is_named(data_directory):
    archive = Archive(name="aclImdb_v1.tar.gz", url="file:///no such file", md5="0")
    with pytest.raises(DataMissing, match=r"aclImdb_v1\.tar\.gz is not in .*ATELIER_DATA_DIR"):
        Imdb(archive=archive).load()


def test_synthetic_sentences_have_the_same_labels():
    splits = Imdb(synthetic_count=20).synthetic()
    assert splits.labels == ("negative", "positive")
    assert len(splits.train.instances) == 20
    assert all(isinstance(text, str) for text in splits.train.instances)
