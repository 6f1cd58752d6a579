"""What ``training retrain`` refuses before anything is trained: one sentence, exit code 2, nothing written."""

import re

import numpy as np
import pytest

from app.contract.recordings.tensors import to_json
from tests.training.shop import new_messages, read_json, write_messages, write_recorded

ROWS = new_messages()


def refused(command, shop, sentence, *options, data="new.csv"):
    before = sorted(path for path in shop.rglob("*") if "runs" in path.parts or "models" in path.parts)
    done = command("retrain", "shop", "--data", data, "--run-id", "x", "--epochs", "1", *options)
    assert done.code == 2, done.out
    assert sentence in done.err
    assert len(done.err.splitlines()) == 1
    assert "loss" not in done.out
    assert sorted(path for path in shop.rglob("*") if "runs" in path.parts or "models" in path.parts) == before
    return done.err


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [*ROWS, ("where is it", "lost")],
            "new.csv: row 121 has the label 'lost', but the model only knows delivery, payment, returns; correct the "
            "label, or for a new class add its rows to the data of the recipe and train with `python -m training run`",
        ),
        ([("", "delivery")], "new.csv: row 1 has no text in column 'message'"),
        ([("x", "")], "new.csv: 1 of 1 rows have no value in the target column 'topic'"),
        (ROWS[:20], "are left to measure on; at least 10 are required: collect more"),
        ([], "new.csv has no rows below its header message, topic"),
    ],
)
def test_rows_that_cannot_be_learned_from(shop, command, rows, sentence):
    write_messages(shop / "new.csv", rows)
    refused(command, shop, sentence)


def test_other_columns(shop, command):
    (shop / "new.csv").write_text("text,topic\nhello,delivery\n")
    refused(command, shop, "new.csv has no column 'message'; there are: text, topic")


def test_no_file_a_folder_and_a_recipe_that_is_not_there(shop, command):
    refused(command, shop, "new.csv does not exist; --data is a folder of class folders, a CSV or Parquet file, or")
    (shop / "pictures").mkdir()
    refused(command, shop, "pictures is a folder, but shop does not read pictures; give a file", data="pictures")
    done = command("retrain", "shops", "--data", "new.csv")
    assert (done.code, "did you mean shop?" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--share-old", "1"), "--share-old 1 must be 0 or more, and below 1"),
        (("--from-version", "7"), "shop has no version 7 under models; the newest is 1"),
        (("--models-dir", "elsewhere"), "no version of shop is published under elsewhere; train one first: python -m"),
        (("--set", "data.split_seed=1"), "--set data.split_seed=1: the data is split as for models/shop/1"),
        (("--set", "optimizer.rate=1"), "'optimizer.rate' is not a setting"),
    ],
)
def test_wrong_options(shop, command, options, sentence):
    write_messages(shop / "new.csv", ROWS)
    refused(command, shop, sentence, *options)


def test_old_data_that_has_changed(shop, command):
    write_messages(shop / "new.csv", ROWS)
    with (shop / "tickets.csv").open("a") as file:
        file.write("one more,delivery\n")
    refused(command, shop, "tickets.csv has changed since version 1 was trained on it, so its validation rows may be")


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            'target="topic"',
            'target="topic", split_seed=3',
            "data.split_seed is 3, but version 1 was trained with 0, so its",
        ),
        ('name="bag"', 'name="gru"', "the weights of models/shop/1 do not fit the network of the recipe"),
        ("=300", "=50", "shop makes other inputs than version 1 takes: 'token_ids' int32 (-1,) up to 49, not"),
    ],
    ids=["split otherwise", "another layer", "other inputs"],
)
def test_a_recipe_that_has_changed_since(shop, command, before, after, sentence):
    write_messages(shop / "new.csv", ROWS)
    change(shop, before, after)
    refused(command, shop, sentence)


def test_weights_that_do_not_fit_the_network_name_the_layer_and_both_shapes(shop, command):
    write_messages(shop / "new.csv", ROWS)
    change(shop, "embedding=8", "embedding=16")
    error = refused(
        command, shop, "the weights of models/shop/1 do not fit the network of the recipe: layer 'embedding"
    )
    assert re.search(r"has a weight of shape \(\d+, 16\), but the version has \(\d+, 8\) in layer 'embedding", error)


def test_a_network_of_the_same_shapes_that_gives_other_answers(shop, command):
    write_messages(shop / "new.csv", ROWS)
    text = (shop / "recipes/shop.py").read_text()
    wrapped = "def build(network, signature):\n    model = build_text_network(network, signature)\n"
    wrapped += (
        "    model.layers[-1].activation = __import__('tf_keras').activations.sigmoid\n    return model\n\n\nRECIPE = "
    )
    text = text.replace("RECIPE = ", wrapped, 1).replace("build=build_text_network", "build=build")
    (shop / "recipes/shop.py").write_text(text)
    refused(command, shop, "with the weights of version 1 gives other answers than the version: they differ by up to")


def test_a_damaged_version(shop, command):
    write_messages(shop / "new.csv", ROWS)
    (shop / "models/shop/1/model.weights.h5").write_bytes(b"x")
    refused(command, shop, "model.weights.h5")


def test_an_imported_version(shop, command):
    metrics = shop / "models/shop/1/metrics.json"
    metrics.write_text('{"imported": {}}')
    refused(command, shop, "models/shop/1 was not trained here but imported; only versions of `training run` are")


def test_recordings_of_another_model_and_of_another_form(shop, command):
    path = write_recorded(shop / "new.jsonl", ROWS, model="words")
    refused(command, shop, "instance 0 of request 'r0' was sent to model 'words', not 'shop'", data=path.name)
    write_recorded(path, [*ROWS, ("where", "lost")])
    refused(
        command, shop, "instance 0 of request 'r120' has the label 'lost', but the model only knows", data=path.name
    )
    write_recorded(path, [("where", None)])
    refused(command, shop, "new.jsonl has no recorded instance with the right answer (1 without", data=path.name)
    write_recorded(path, ROWS, inputs={"token_ids": to_json(np.arange(3, dtype=np.int32))})
    refused(command, shop, "(120 sent as token ids, not as a text); send feedback first", data=path.name)
    path.write_text("no JSON\n")
    refused(command, shop, "has no recorded instance with the right answer (none at all)", data=path.name)


def change(shop, old, new):
    path = shop / "recipes/shop.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert read_json(shop / "models/shop/1/metrics.json")["model"] == "shop"
