"""Bulk scoring: every kind of input, in this process and with a service, interrupted and continued."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from decimal import Decimal

import numpy as np
import onnx
import pyarrow
import pytest
from onnx import TensorProto, helper, numpy_helper
from pyarrow import parquet

from app.contract.golden import Golden
from tests.support.bare_models import write_graph
from tests.support.forked import can_fork, run_forked
from tests.support.images import png
from tests.support.readme import agree, commands
from tests.support.service import ROOT, Service, own_environment, wait_until
from tests.support.tiny_models import write_brightness_model, write_rule_model, write_words_model

PYTHONPATH = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
WORDS = ["good film", "bad bad film", "good", "a bad one"]
EXPECTED = ["positive", "negative", "positive", "negative"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_brightness_model(folder)
    write_words_model(folder)
    write_sums_model(folder)
    write_passengers_model(folder)
    write_rule_model(folder, name="open", finite=False)
    return folder


@pytest.fixture(scope="module")
def service(models):
    service = Service(models)
    yield service
    assert service.stop() == 0


@pytest.fixture(params=["here", "service"])
def score(request, models, tmp_path):
    """Runs the command in ``tmp_path``, in this process and with a service."""
    place = ["--models-dir", str(models)]
    if request.param == "service":
        place = ["--url", request.getfixturevalue("service").url]
    return lambda *arguments, code=0: run(*arguments, *place, cwd=tmp_path, code=code)


def command(*arguments):
    return [sys.executable, "-m", "app", "score", *map(str, arguments)]


def environment(**variables):
    return {**own_environment(), "PYTHONPATH": PYTHONPATH, "COLUMNS": "200", **variables}


def run(*arguments, cwd, code=0, **variables):
    if can_fork(variables):
        done = run_forked(["score", *arguments], env=environment(**variables), timeout=120, cwd=cwd)
    else:
        done = subprocess.run(
            command(*arguments), cwd=cwd, env=environment(**variables), capture_output=True, text=True, check=False
        )
    assert done.returncode == code, done.stdout + done.stderr
    assert not list(cwd.glob(".*.writing"))
    return done.stdout + done.stderr


def rows(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_images_of_directories_and_patterns_get_labels_in_the_order_of_their_names(score, tmp_path):
    for name, grey in (("b.png", 250), ("a.png", 5), ("deep/c.png", 250)):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(np.full((9, 9), grey, np.uint8)))
    (tmp_path / "pictures" / "notes.md").write_text("no image")
    printed = score("brightness", "pictures", "pictures/[b]*.png", "--output", "out.csv")
    assert "wrote out.csv: 4 rows, 0 failed" in printed
    found = [(row["id"], row["label"]) for row in rows(tmp_path / "out.csv")]
    assert found == [
        ("pictures/a.png", "dark"),
        ("pictures/b.png", "bright"),
        ("pictures/deep/c.png", "bright"),
        ("pictures/b.png", "bright"),
    ]
    assert all(0.5 < float(row["score"]) <= 1 and row["error"] == "" for row in rows(tmp_path / "out.csv"))


def test_lines_of_a_text_file_and_a_column_of_a_table(score, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(WORDS) + "\n")
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "review"])
        writer.writerows(enumerate(WORDS))
    score("words", "texts.txt", "texts.csv", "--column", "review", "--output", "out.jsonl", "--top-k", "2")
    found = rows(tmp_path / "out.jsonl")
    assert [row["label_1"] for row in found] == EXPECTED * 2
    assert [row["id"] for row in found] == [f"texts.{kind}:{n}" for kind in ("txt", "csv") for n in range(1, 5)]
    assert all(row["score_1"] >= row["score_2"] and row["error"] is None for row in found)


def test_a_row_that_fails_is_recorded_and_the_others_are_scored(score, tmp_path):
    (tmp_path / "a.png").write_bytes(png(np.full((4, 4), 250, np.uint8)))
    (tmp_path / "b.png").write_bytes(b"no image")
    (tmp_path / "c.png").write_bytes(png(np.full((4, 4), 5, np.uint8)))
    printed = score("brightness", "a.png", "b.png", "c.png", "--output", "out.csv", code=1)
    assert "wrote out.csv: 3 rows, 1 failed" in printed
    good, bad, last = rows(tmp_path / "out.csv")
    assert (good["label"], bad["label"], last["label"]) == ("bright", "", "dark")
    assert "are not a PNG" in bad["error"]
    (tmp_path / "texts.txt").write_bytes(b"good\n\n\xff\nbad\n")
    score("words", "texts.txt", "--output", "texts.jsonl", code=1)
    found = rows(tmp_path / "texts.jsonl")
    assert [row["label"] for row in found] == ["positive", None, None, "negative"]
    assert "text is empty" in found[1]["error"]
    assert "not UTF-8" in found[2]["error"]


def test_arrays_are_scored_with_the_answers_of_the_golden_samples(score, models, tmp_path):
    golden = Golden.read(models / "brightness" / "1")
    np.savez(tmp_path / "in.npz", pixels=golden.inputs["pixels"], other=np.zeros(1))
    score("brightness", "in.npz", "--output", "out.csv", "--top-k", "2")
    scores = golden.outputs["probabilities"]
    for row, expected in zip(rows(tmp_path / "out.csv"), scores, strict=True):
        found = {row[f"label_{n}"]: float(row[f"score_{n}"]) for n in (1, 2)}
        assert [found["dark"], found["bright"]] == pytest.approx(expected.tolist(), abs=1e-6)


def test_columns_named_like_inputs_contain_json(score, models, tmp_path):
    pixels = Golden.read(models / "brightness" / "1").inputs["pixels"][:3]
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pixels", "note"])
        writer.writerows([json.dumps(each.tolist()), "x"] for each in pixels)
        writer.writerow(["[[1", "x"])
    score("brightness", "in.csv", "--output", "out.csv", code=1)
    *good, bad = rows(tmp_path / "out.csv")
    expected = Golden.read(models / "brightness" / "1").outputs["probabilities"][:3].argmax(axis=1)
    assert [row["label"] for row in good] == [("dark", "bright")[each] for each in expected]
    assert bad["error"] == "'[[1' is not a number or a JSON list"
    score("brightness", "in.csv", "--column", "note", "--output", "paths.csv", code=1)
    assert all("No such file" in row["error"] for row in rows(tmp_path / "paths.csv"))


def test_raw_outputs_of_a_model_that_does_not_classify_have_a_column_each(score, tmp_path):
    inputs = np.array([[1, 2], [3, 4.5]], np.float32)
    np.savez(tmp_path / "in.npz", x=inputs)
    (tmp_path / "in.csv").write_text("a,b,c\n1,2,z\n3,4.5,z\n5,,z\n")
    score("sums", "in.npz", "--output", "out.jsonl")
    found = rows(tmp_path / "out.jsonl")
    assert [(row["sum"], row["error_output"], row["error"]) for row in found] == [
        (3.0, [2.0, 4.0], None),
        (7.5, [6.0, 9.0], None),
    ]
    score("sums", "in.csv", "--column", "a", "--column", "b", "--output", "out.csv")
    found = rows(tmp_path / "out.csv")
    assert [row["sum"] for row in found] == ["3.0", "7.5", ""]
    assert found[1]["error_output"] == "[6.0,9.0]"
    assert found[2]["error_output"] == "[10.0,null]"  # a bare graph accepts NaN


def write_sums_model(folder):
    """A bare graph: the sum of two numbers, and each of them doubled."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "x"], ["error"]),
    ]
    one = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "sums",
        [one("x", TensorProto.FLOAT, ["n", 2])],
        [one("sum", TensorProto.FLOAT, ["n"]), one("error", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.array([1]), "axes")],
    )
    path = folder / "sums/1/model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_passengers_model(folder):
    """A bare graph as skl2onnx writes a pipeline of columns: each input is [n, 1], the label an INT64, the rest [n, 1].

    The label is 1 for the strings "male"; the value is age + fare.
    """
    nodes = [
        helper.make_node("Equal", ["sex", "male"], ["is_male"]),
        helper.make_node("Cast", ["is_male"], ["labels"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["labels", "axes"], ["label"]),
        helper.make_node("Cast", ["age"], ["years"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["years", "fare"], ["variable"]),
    ]
    write_graph(
        folder,
        "passengers",
        nodes,
        [
            ("age", TensorProto.INT64, ["n", 1]),
            ("fare", TensorProto.FLOAT, ["n", 1]),
            ("sex", TensorProto.STRING, ["n", 1]),
        ],
        [("label", TensorProto.INT64, ["n"]), ("variable", TensorProto.FLOAT, ["n", 1])],
        {"male": np.array(["male"], object), "axes": np.array([1])},
        opset=19,
    )


PASSENGERS = {"age": [30, 20, 40], "fare": [20.5, 7.25, 1], "sex": ["male", "female", "[male"]}
ANSWERS = [(1, 50.5), (0, 27.25), (0, 41.0)]


def test_columns_of_single_values_are_the_inputs_of_a_pipeline(score, tmp_path):
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(PASSENGERS)
        writer.writerows(zip(*PASSENGERS.values(), strict=True))
        writer.writerow(["[30]", "[20.5]", '["male"]'])
        writer.writerow(["", "1", "male"])
    score("passengers", "in.csv", "--output", "out.jsonl", code=1)
    *good, bad = rows(tmp_path / "out.jsonl")
    assert [(row["label"], row["variable"]) for row in good] == [*ANSWERS, ANSWERS[0]]
    assert bad["error"] == "column 'age' is empty, and the model accepts no missing number there"
    score("passengers", "in.csv", "--output", "out.csv", code=1)
    assert [(row["label"], row["variable"]) for row in rows(tmp_path / "out.csv")[:2]] == [
        ("1", "50.5"),
        ("0", "27.25"),
    ]


def test_a_missing_value_is_nan_where_the_model_accepts_it_and_the_empty_text_for_a_string(score, tmp_path):
    (tmp_path / "in.csv").write_text("note,x\na,3\nb,\nc,NaN\n")
    parquet.write_table(pyarrow.table({"x": [2.0, None, float("nan")]}), tmp_path / "in.parquet")
    assert "6 rows, 0 failed" in score("open", "in.csv", "in.parquet", "--output", "out.jsonl")
    found = rows(tmp_path / "out.jsonl")
    assert [row["values"] for row in found] == [5.0, None, None, 3.0, None, None]  # 2x - 1
    strings = pyarrow.table({"age": [30, None], "fare": [1.5, 2], "sex": [None, "male"]})
    parquet.write_table(strings, tmp_path / "passengers.parquet")
    score("passengers", "passengers.parquet", "--output", "passengers.jsonl", code=1)
    empty, refused = rows(tmp_path / "passengers.jsonl")
    assert (empty["label"], empty["variable"]) == (0, 31.5)
    assert refused["error"] == "column 'age' is empty, and the model accepts no missing number there"


def test_parquet_is_read_as_pandas_writes_it(score, tmp_path):
    """With decimal numbers, strings in a dictionary, and a column for an index without a name."""
    columns = {
        "age": pyarrow.array(PASSENGERS["age"], pyarrow.int32()),
        "fare": pyarrow.array(map(Decimal, PASSENGERS["fare"]), pyarrow.decimal128(20, 10)),
        "sex": pyarrow.array(PASSENGERS["sex"]).dictionary_encode(),
        "__index_level_0__": pyarrow.array([7, 8, 9]),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "in.parquet")
    score("passengers", "in.parquet", "--output", "out.parquet")
    found = parquet.read_table(tmp_path / "out.parquet")
    assert [(row["label"], row["variable"]) for row in found.to_pylist()] == ANSWERS
    assert [str(found.schema.field(name).type) for name in ("label", "variable")] == ["int64", "float"]
    vector = {name: columns[name] for name in ("age", "fare", "__index_level_0__")}
    parquet.write_table(pyarrow.table(vector), tmp_path / "vector.parquet")
    score("sums", "vector.parquet", "--output", "out.jsonl")
    assert [row["sum"] for row in rows(tmp_path / "out.jsonl")] == [value for _, value in ANSWERS]


def test_several_columns_of_strings_make_a_vector(models, tmp_path):
    sizes = [("texts", TensorProto.STRING, ["n", 2])], [("same", TensorProto.STRING, ["n", 2])]
    write_graph(models, "texts", [helper.make_node("Identity", ["texts"], ["same"])], *sizes)
    (tmp_path / "in.csv").write_text("first,second\na,1\n,b\n")
    run("texts", "in.csv", "--output", "out.jsonl", "--models-dir", models, cwd=tmp_path)
    assert [row["same"] for row in rows(tmp_path / "out.jsonl")] == [["a", "1"], ["", "b"]]


def test_other_columns_than_the_elements_of_the_input_are_named_in_the_error(score, tmp_path):
    (tmp_path / "in.csv").write_text("a,b,species\n1,2,x\n")
    assert (
        "in.csv has the columns ['a', 'b', 'species']; the model requires one for each input, ['x'], or one with "
        "--column, or 2, each with --column, for the elements of it"
    ) in score("sums", "in.csv", "--output", "out.csv", code=2)


def test_a_row_of_csv_with_more_fields_than_the_header_is_not_scored(score, tmp_path):
    """Such as a text with a comma and without quotes: its first part alone would be scored."""
    (tmp_path / "in.csv").write_text('review\n"good, really"\ngood, really\n')
    score("words", "in.csv", "--column", "review", "--output", "out.csv", code=1)
    good, bad = rows(tmp_path / "out.csv")
    assert (good["error"], bad["label"]) == ("", "")
    assert bad["error"] == "the row has 2 fields, and the header 1; a field with a comma is written in quotes"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("words", "missing.txt", "--output", "o.csv"), "missing.txt does not exist"),
        (("words", "none-*.txt", "--output", "o.csv"), "none-*.txt contains no file that can be scored"),
        (("words", "t.txt", "--output", "o.xml"), "expected a file that ends in .csv, .jsonl, .parquet"),
        (("words", "t.txt", "--output", "no/o.csv"), "the directory no does not exist"),
        (("nothing", "t.txt", "--output", "o.csv"), "nothing"),
        (("words", "t.csv", "--output", "o.csv", "--column", "z"), "t.csv has no column 'z'; it has ['a', 'b']"),
        (("words", "t.csv", "--output", "o.csv"), "t.csv has the columns ['a', 'b']; the model requires one for each"),
        (("words", "two.csv", "--output", "o.csv", "--column", "a"), "two.csv has the column 'a' twice"),
        (("words", "t.npz", "--output", "o.csv"), "t.npz has no array 'token_ids'; it has ['x']"),
        (("words", "t.md", "--output", "o.csv"), "t.md has an unknown suffix; known are"),
        (("words", "t.txt", "--output", "old.csv"), "old.csv exists; choose another file, or add --overwrite"),
        (("words", "t.txt", "--output", "o.csv", "--resume"), "there is no interrupted run to resume"),
        (("words", "t.txt", "--output", "o.csv", "--resume", "--overwrite"), "exclude each other"),
    ],
)
def test_a_mistake_gives_one_sentence_and_no_leftover_files(arguments, sentence, score, tmp_path):
    (tmp_path / "t.txt").write_text("good\n")
    (tmp_path / "t.md").write_text("good\n")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    (tmp_path / "two.csv").write_text("a,b,a\n1,2,3\n")
    (tmp_path / "old.csv").write_text("precious")
    np.savez(tmp_path / "t.npz", x=np.zeros(3))
    before = sorted(path.name for path in tmp_path.iterdir())
    printed = score(*arguments, code=2)
    assert sentence in printed
    assert printed.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "old.csv").read_text() == "precious"


def test_a_service_that_stops_ends_the_run_and_the_next_service_continues_it(models, tmp_path):
    (tmp_path / "long.txt").write_text("good bad film good\n" * 60_000)
    service = Service(models)
    place = ("--url", service.url)

    def stop():
        assert service.stop() == 0

    ended, printed, partial = interrupted(tmp_path, 200, *place, output="out.csv", by=stop)
    assert ended == 2
    assert f"error: {service.url}" in printed
    assert 200 < partial.read_bytes().count(b"\n") < 60_000
    assert b'"error":null' in partial.read_bytes()
    assert partial.read_bytes().count(b'"error":null') == partial.read_bytes().count(b"\n") - 1
    service = Service(models)
    try:
        again = ("words", "long.txt", "--output", "out.csv", "--resume", "--url", service.url)
        assert "wrote out.csv: 60000 rows, 0 failed" in run(*again, cwd=tmp_path)
    finally:
        stop()


def interrupted(folder, number, *place, output, by):
    """Start a long run and end it, or its service, once some rows are done; its code, output and partial file."""
    partial = folder / f".{output}.partial"
    process = subprocess.Popen(
        command("words", "long.txt", "--output", output, *place),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: partial.exists() and partial.read_bytes().count(b"\n") > number)
    by() if callable(by) else process.send_signal(by)
    _, printed = process.communicate(timeout=60)
    return process.returncode, printed, partial


@pytest.mark.parametrize(("by", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_an_interrupted_run_continues_and_gives_the_same_file(by, code, models, tmp_path):
    generator = np.random.default_rng(0)
    lines = [" ".join(generator.choice(["good", "bad", "film"], 12)) for _ in range(60_000)]
    (tmp_path / "long.txt").write_text("\n".join(lines) + "\n")
    ended, printed, partial = interrupted(tmp_path, 1000, "--models-dir", models, output="out.csv", by=by)
    assert ended == code
    assert ("the same command with --resume continues" in printed) == (by == signal.SIGINT)
    assert not (tmp_path / "out.csv").exists()
    done = partial.read_bytes()
    assert done.count(b"\n") < 60_000
    partial.write_bytes(done + b'{"id":"cut o')  # a line that was being written
    again = ("words", "long.txt", "--output", "out.csv", "--models-dir", models)
    assert "is left by an interrupted run; add --resume" in run(*again, cwd=tmp_path, code=2)
    assert "wrote out.csv: 60000 rows, 0 failed" in run(*again, "--resume", cwd=tmp_path)
    assert not partial.exists()
    run("words", "long.txt", "--output", "whole.csv", "--models-dir", models, cwd=tmp_path)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_run_does_not_continue_with_other_inputs_or_options(models, tmp_path):
    plan = {"model": "words", "version": 1, "inputs": ["t.txt"], "columns": [], "top_k": 1}
    record = {"id": "t.txt:1", "label": "positive", "score": 0.9, "error": None}
    (tmp_path / "t.txt").write_text("good\nbad\n")
    partial = tmp_path / ".o.jsonl.partial"
    partial.write_text(json.dumps({"plan": plan}) + "\n" + json.dumps(record) + "\n")
    end = ("--output", "o.jsonl", "--resume", "--models-dir", models)
    assert "was begun with {'model': 'words'" in run("words", "t.txt", "--top-k", "2", *end, cwd=tmp_path, code=2)
    partial.write_text(json.dumps({"plan": plan}) + "\n" + json.dumps({**record, "id": "other:1"}) + "\n")
    assert "row 1 was other:1 and is now t.txt:1" in run("words", "t.txt", *end, cwd=tmp_path, code=2)
    partial.write_text("damaged\n")
    assert "is damaged; delete it" in run("words", "t.txt", *end, cwd=tmp_path, code=2)
    partial.write_text(json.dumps({"plan": plan}) + "\n" + json.dumps(record) + "\n")
    run("words", "t.txt", *end, cwd=tmp_path)
    first, second = rows(tmp_path / "o.jsonl")
    assert (first["score"], first["label"]) == (0.9, "positive")  # was not scored again
    assert second["label"] == "negative"


def test_without_pyarrow_parquet_names_what_to_install_and_the_other_formats_work(models, tmp_path):
    stand_in = tmp_path / ".without"
    stand_in.mkdir()
    (stand_in / "pyarrow.py").write_text("raise ModuleNotFoundError(\"No module named 'pyarrow'\")")
    (tmp_path / "t.txt").write_text("good\n")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    path = f"{stand_in}{os.pathsep}{ROOT}"
    place = ("--models-dir", models)
    for arguments in (("t.txt", "--output", "o.parquet"), ("t.parquet", "--output", "o.csv")):
        printed = run("words", *arguments, *place, cwd=tmp_path, code=2, PYTHONPATH=path)
        assert "Parquet requires pyarrow; install it with `pip install -r requirements/parquet.txt`" in printed
    run("words", "t.txt", "--output", "o.csv", *place, cwd=tmp_path, PYTHONPATH=path)


def test_a_service_that_does_not_answer_or_is_not_a_service(tmp_path, service):
    (tmp_path / "t.txt").write_text("good\n")
    end = ("words", "t.txt", "--output", "o.csv")
    assert "does not answer" in run(*end, "--url", "http://127.0.0.1:9", cwd=tmp_path, code=2)
    assert "expected http://HOST:PORT" in run(*end, "--url", "localhost", cwd=tmp_path, code=2)
    assert "version 7" in run(*end, "--url", service.url, "--version", "7", cwd=tmp_path, code=2)


def test_an_answer_of_another_protocol_is_printed_in_one_line(tmp_path):
    """Such as that of a gRPC port."""
    (tmp_path / "t.txt").write_text("good\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"\x00\x00\x18\x04\x1b[31m\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        printed = run("words", "t.txt", "--output", "o.csv", "--url", url, cwd=tmp_path, code=2)
        answering.join()
    assert printed.rstrip("\n").isprintable()
    assert f"{url} does not answer in HTTP" in printed


def test_the_commands_of_the_page_work(tmp_path):
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    steps = commands(ROOT / "docs/how-to/score-files.md")
    assert len(steps) == 5
    for step in steps:
        line = step.line.replace("python ", f"{sys.executable} ", 1) if step.line.startswith("python ") else step.line
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert agree(done.stdout, step.output, tolerance=1e-5), done.stdout + done.stderr


class TestParquet:
    @pytest.fixture(autouse=True)
    def _pyarrow(self):
        pytest.importorskip("pyarrow")

    def test_a_column_of_a_parquet_file_is_scored_to_parquet(self, score, tmp_path):
        import pyarrow
        from pyarrow import parquet

        table = pyarrow.table({"review": [*WORDS, None], "number": range(5)})
        parquet.write_table(table, tmp_path / "in.parquet")
        score("words", "in.parquet", "--column", "review", "--output", "out.parquet", code=1)
        found = parquet.read_table(tmp_path / "out.parquet")
        assert found.schema.names == ["id", "label", "score", "error"]
        assert found["label"].to_pylist() == [*EXPECTED, None]
        assert found["error"].to_pylist() == [None] * 4 + ["column 'review' is empty"]
        assert found["score"].type == pyarrow.float32()

    def test_bytes_of_images_and_raw_outputs(self, score, tmp_path):
        import pyarrow
        from pyarrow import parquet

        images = [png(np.full((4, 4), grey, np.uint8)) for grey in (5, 250)]
        parquet.write_table(pyarrow.table({"picture": images}), tmp_path / "in.parquet")
        score("brightness", "in.parquet", "--output", "out.parquet")
        assert parquet.read_table(tmp_path / "out.parquet")["label"].to_pylist() == ["dark", "bright"]

    def test_a_file_that_is_not_parquet(self, score, tmp_path):
        (tmp_path / "in.parquet").write_bytes(b"no parquet")
        assert "is not a readable Parquet file" in score("words", "in.parquet", "--output", "o.csv", code=2)
