"""Files of texts and labels: what is read, and what is refused before any training, with its row."""

import pytest

from tests.support.own_data import write_tickets
from training.errors import DataUnusable
from training.sources.text_table import TextTable


@pytest.fixture
def tickets(tmp_path):
    write_tickets(tmp_path / "tickets.csv", count=120)
    return tmp_path / "tickets.csv"


def load(path, **changes):
    return TextTable(file=str(path), **({"text": "message", "target": "topic"} | changes)).load()


def parts_of(splits):
    return splits.train, splits.validation, splits.read_test()


def test_labels_of_any_names_are_kept_and_each_class_is_in_every_part(tickets):
    splits = load(tickets)
    assert splits.labels == ("delivery", "payment", "returns")
    assert [len(part) for part in parts_of(splits)] == [84, 18, 18]
    for part in parts_of(splits):
        assert set(part.labels) == {0, 1, 2}
    assert all(
        "courier" not in text or splits.labels[label] == "delivery"
        for text, label in zip(splits.train.instances, splits.train.labels, strict=True)
    )


def test_texts_with_quotes_commas_and_line_ends_stay_whole(tmp_path):
    rows = "".join(f'"say ""{n}"", and\nmore",{"yes" if n % 2 else "no"}\n' for n in range(12))
    (tmp_path / "t.csv").write_text(f"text,label\n{rows}")
    texts = [
        text for part in parts_of(load(tmp_path / "t.csv", text="text", target="label")) for text in part.instances
    ]
    assert sorted(texts)[0] == 'say "0", and\nmore'
    assert len(texts) == 12


def test_copies_of_a_text_are_in_one_part(tickets):
    lines = tickets.read_text().splitlines()
    tickets.write_text("\n".join(lines + lines[1:] * 2) + "\n")
    parts = [set(part.instances) for part in parts_of(load(tickets))]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 120


def refused(path, sentence, **changes):
    with pytest.raises(DataUnusable, match=sentence):
        load(path, **changes)


def test_a_row_without_a_text_is_refused_or_left_out(tickets):
    with tickets.open("a") as file:
        file.write(" ,returns\nWhere is it?,\n")
    refused(tickets, "row 121 has no text in column 'message'; fill it in, or set skip_without_target=True")
    assert sum(map(len, parts_of(load(tickets, skip_without_target=True)))) == 120


def test_a_misspelt_column_is_refused_with_the_nearest(tickets):
    refused(tickets, r"has no column 'mesage'; did you mean 'message'\? there are: message, topic", text="mesage")


def test_the_text_as_its_own_target_is_refused(tickets):
    refused(tickets, "'message' is both the text and the target; name two columns", target="message")


def test_a_label_in_every_row_is_refused_for_too_many_classes(tickets):
    text = tickets.read_text().splitlines()
    tickets.write_text("\n".join([text[0], *(f"{line}{n}" for n, line in enumerate(text[1:]))]) + "\n")
    refused(tickets, "the target column 'topic' has 120 different values, .*at most 100 classes are accepted")
