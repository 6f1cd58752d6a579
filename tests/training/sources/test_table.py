"""Tables as users have them: what is read, and what is refused before any training, with its row."""

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from training.errors import DataDamaged, DataMissing, DataUnusable
from training.sources.table import Table, input_name

ROWS = "".join(f"{20 + number % 40},{'basic' if number % 3 else 'plus'},{number % 2}\n" for number in range(60))


def write(path, text=ROWS, header="age,plan,stays\n"):
    path.write_text(header + text, encoding="utf-8")
    return path


def load(path, **changes):
    settings = {"target": "stays", "predicts": "classes", "numbers": ("age",), "categories": ("plan",)}
    return Table(file=str(path), **(settings | changes)).load()


@pytest.fixture
def members(tmp_path):
    return write(tmp_path / "members.csv")


def test_a_csv_becomes_columns_with_their_kinds_and_labels(members):
    splits = load(members)
    assert splits.labels == ("0", "1")
    assert splits.train.instances.dtype.names == ("age", "plan")
    assert splits.train.instances["age"].dtype == np.float32
    assert set(splits.train.instances["plan"]) == {b"basic", b"plus"}
    assert len(splits.train) + len(splits.validation) + len(splits.read_test()) == 60


def test_a_parquet_file_gives_the_same_rows(members, tmp_path):
    rows = [line.split(",") for line in ROWS.splitlines()]
    table = pyarrow.table(
        {"age": [int(row[0]) for row in rows], "plan": [row[1] for row in rows], "stays": [int(row[2]) for row in rows]}
    )
    parquet.write_table(table, tmp_path / "members.parquet")
    one, other = load(members), load(tmp_path / "members.parquet")
    assert one.labels == other.labels
    assert one.train.instances.tolist() == other.train.instances.tolist()
    assert one.train.labels.tolist() == other.train.labels.tolist()


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_recognised(delimiter, members, tmp_path):
    text = (tmp_path / "members.csv").read_text()
    other = tmp_path / "other.csv"
    other.write_text(text.replace(",", delimiter))
    assert load(other).train.instances.tolist() == load(members).train.instances.tolist()


def test_missing_values_are_nan_and_the_empty_text(tmp_path):
    path = write(
        tmp_path / "gaps.csv", "".join(f"{'NA' if n % 2 else n},{'' if n % 3 else 'x'},{n % 2}\n" for n in range(60))
    )
    splits = load(path)
    assert np.isnan(splits.train.instances["age"]).any()
    assert b"" in set(splits.train.instances["plan"])


def test_numbers_are_predicted_as_they_are(members):
    splits = load(members, predicts="number", numbers=(), categories=("plan",))
    assert splits.labels == ()
    assert splits.train.labels.shape[1:] == (1,)
    assert set(splits.train.labels.ravel()) == {0.0, 1.0}


def test_equal_rows_are_in_one_part(tmp_path):
    path = write(tmp_path / "copies.csv", "".join(f"{n % 220},a,{n % 2}\n" for n in range(240)))
    parts = [set(part.instances["age"]) for part in (load(path).train, load(path).validation, load(path).read_test())]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_of_columns_with_few_values_equal_rows_are_different_cases(tmp_path):
    splits = load(write(tmp_path / "few.csv", "".join(f"{n % 2},a,{n % 3 % 2}\n" for n in range(240))))
    assert set(splits.train.instances["age"]) == set(splits.read_test().instances["age"]) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("column", "name"),
    [("size m2", "size_m2"), ("Größe", "Gr_e"), ("1st", "column_1st"), ("€", "column"), ("a-b", "a_b")],
)
def test_a_column_becomes_an_input_with_a_name_that_every_format_accepts(column, name):
    assert input_name(column) == name


def refused(path, sentence, error=DataUnusable, **changes):
    with pytest.raises(error, match=sentence):
        load(path, **changes)


def test_a_file_that_does_not_exist_is_named(tmp_path):
    refused(tmp_path / "no.csv", r"no\.csv is not a file; give a CSV or Parquet file", DataMissing)


@pytest.mark.parametrize("change", [{"target": "stay"}, {"numbers": ("agee",)}, {"categories": ("plans",)}])
def test_a_misspelt_column_is_refused_with_the_nearest(change, members):
    refused(
        members,
        "has no column '(stay|agee|plans)'; did you mean '(stays|age|plan)'\\? there are: age, plan, stays",
        **change,
    )


def test_a_text_among_numbers_is_refused_with_row_and_value(tmp_path):
    path = write(tmp_path / "wrong.csv", ROWS + "about 30,basic,1\n")
    sentence = (
        r"wrong\.csv: row 61: column 'age' has 'about 30', which is not a finite number; correct it, or move the "
        "column to categories$"
    )
    refused(path, sentence)


@pytest.mark.parametrize("value", ["inf", "1e60"])
def test_a_number_that_float32_cannot_hold_is_refused(value, tmp_path):
    refused(
        write(tmp_path / "big.csv", ROWS + f"{value},basic,1\n"), f"row 61: column 'age' has '{value}', which is not"
    )


def test_a_row_with_another_number_of_fields_is_refused_with_its_number(tmp_path):
    path = write(tmp_path / "fields.csv", "1,basic,0\n2,basic, and more,1\n")
    refused(path, "row 2 has 4 fields, but the header has 3; a field with ',' is written in quotes", DataDamaged)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "latin.csv").write_bytes("age,plan,stays\n1,Zürich,1\n".encode("latin-1"))
    refused(tmp_path / "latin.csv", r"latin\.csv is not UTF-8 text: .*; save it as CSV UTF-8", DataDamaged)


def test_a_file_that_is_not_parquet_is_refused(tmp_path):
    refused(write(tmp_path / "no.parquet"), r"no\.parquet is not a readable Parquet file: ", DataDamaged)


def test_a_header_without_rows_is_refused(tmp_path):
    refused(write(tmp_path / "empty.csv", ""), r"empty\.csv has no rows below its header age, plan, stays")


def test_two_columns_with_the_same_name_are_refused(tmp_path):
    refused(write(tmp_path / "twice.csv", "1,2,3\n", "age,age,stays\n"), "has two columns 'age'; rename one")


def test_two_columns_that_would_be_the_same_input_are_refused(tmp_path):
    path = write(tmp_path / "same.csv", "1,2,3\n", "a b,a-b,stays\n")
    refused(path, "the columns a b and a-b would both be the input 'a_b'", numbers=("a b", "a-b"), categories=())


def test_a_row_without_a_target_is_refused_or_left_out(tmp_path):
    path = write(tmp_path / "gaps.csv", ROWS + "30,basic,\n")
    refused(path, "1 of 61 rows have no value in the target column 'stays'; the first is row 61; fill them in, or set")
    splits = load(path, skip_without_target=True)
    assert len(splits.train) + len(splits.validation) + len(splits.read_test()) == 60


def test_a_target_with_one_class_is_refused(tmp_path):
    path = write(tmp_path / "one.csv", "1,a,yes\n2,b,yes\n")
    refused(path, "all 2 rows have 'yes' in the target column 'stays'; there is nothing to distinguish")


def test_a_target_with_too_many_classes_is_refused(tmp_path):
    path = write(tmp_path / "many.csv", "".join(f"1,a,name{n}\n" for n in range(150)))
    refused(path, "the target column 'stays' has 150 different values, such as 'name0' in 1 rows; at most 100 classes")


def test_a_rare_class_is_refused_with_its_name(tmp_path):
    refused(write(tmp_path / "rare.csv", ROWS + "3,basic,maybe\n"), "class 'maybe' has 1 different rows; at least 3")


def test_the_target_among_the_columns_is_refused(members):
    refused(members, "the target 'stays' is also a column to predict from; remove it", categories=("stays",))


def test_no_columns_at_all_are_refused(members):
    refused(members, "numbers and categories name 0 columns; 1 to 64 are accepted", numbers=(), categories=())
