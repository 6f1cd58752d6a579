"""``training retrain`` as a user sees it: what it prints, what it writes, and its exit code."""

import json

import numpy as np
import pytest

from app.contract.manifest import verify_manifest
from tests.training.shop import new_messages, read_json, write_messages, write_recorded

ENOUGH = ("--epochs", "30", "--set", "optimizer.learning_rate=0.01")


def test_a_better_network_is_published_with_what_it_was_made_of(shop, command):
    write_messages(shop / "new.csv", new_messages())
    done = command(
        "retrain", "shop", "--data", "new.csv", "--publish", "--run-id", "again", "--epochs", "60", "--share-old", "0.5"
    )
    assert (done.code, done.err) == (0, ""), done.out
    assert "starts from models/shop/1\n" in done.out
    assert "share of old rows: 0.50; passes over the new rows in each epoch: 2" in done.out
    assert "better than the published version: on the new rows the accuracy went from " in done.out
    assert "published: models/shop/2" in done.out
    verify_manifest(shop / "models/shop/2")
    metrics = read_json(shop / "models/shop/2/metrics.json")
    said = metrics["retrained"]
    rows = said["rows"]
    assert (said["version"], said["data"], metrics["run"]) == ("shop/1", "new.csv", "shop/again")
    assert rows["new"] + rows["held_out"] == 120
    assert rows["old"] == rows["new"] * said["passes"] == 82 * 2  # of 168: there are not enough for a third pass
    assert metrics["dataset"]["counts"]["train"] == 2 * rows["old"]
    old, new = said["comparison"]["old_validation"], said["comparison"]["new_held_out"]
    assert new["published"]["accuracy"] < new["retrained"]["accuracy"]
    assert old["retrained"]["accuracy"] >= old["published"]["accuracy"] - 0.005
    assert new["published"]["rows"] == rows["held_out"]
    # The figures of the published version are those that it was published with.
    first = read_json(shop / "models/shop/1/metrics.json")["validation"]
    assert old["published"]["confusion"] == first["confusion"]
    assert old["published"]["log_loss"] == pytest.approx(first["log_loss"], rel=1e-4)
    assert metrics["settings"]["optimizer.learning_rate"] == pytest.approx(0.002)
    assert "from version shop/1 with" in (shop / "models/shop/2/card.md").read_text()
    assert "retrain shop --data new.csv" in (shop / "models/shop/2/card.md").read_text()


def test_a_version_that_was_retrained_is_retrained_again_from_its_own_weights(shop, command):
    rows = new_messages()
    write_messages(shop / "new.csv", rows)
    first = command("retrain", "shop", "--data", "new.csv", "--publish", "--run-id", "a", *ENOUGH)
    assert first.code == 0, first.out
    write_messages(shop / "new.csv", [*rows, *[(f"{text} please", label) for text, label in rows]])
    second = command("retrain", "shop", "--data", "new.csv", "--run-id", "b", "--epochs", "1")
    assert "starts from models/shop/2\n" in second.out
    before, now = (read_json(shop / f"runs/shop/{each}/metrics.json") for each in "ab")
    # A tenth of the recipe's, not of what the first retraining had.
    assert now["settings"]["optimizer.learning_rate"] == pytest.approx(0.002)
    # What was held out once is never trained on.
    assert now["retrained"]["rows"]["held_out"] > before["retrained"]["rows"]["held_out"]


def test_one_that_forgets_is_not_published_and_the_four_figures_say_why(shop, command):
    topics = ["delivery", "payment", "returns"]
    wrong = [(text, topics[topics.index(label) - 1]) for text, label in read_tickets(shop)]
    write_messages(shop / "new.csv", [(f"{text} today", label) for text, label in wrong])
    done = command("retrain", "shop", "--data", "new.csv", "--publish", "--share-old", "0", *ENOUGH)
    assert done.code == 3, done.out
    assert "old validation rows" in done.out
    assert "held-out new rows" in done.out
    assert "it does not replace the published version: on the old rows the accuracy went from 1.0000 to " in done.out
    assert ", worse by more than the margin of 0.005" in done.out
    assert "the test set was not used; nothing was published" in done.out
    assert not (shop / "models/shop/2").exists()


def test_one_that_learns_nothing_new_is_not_published_and_its_run_is_not_continued(shop, command):
    write_messages(shop / "new.csv", [(f"{text} today", label) for text, label in read_tickets(shop)])
    done = command("retrain", "shop", "--data", "new.csv", "--publish", "--epochs", "1", "--run-id", "x")
    assert done.code == 3, done.out
    assert "on the new rows the accuracy went from 1.0000 to 1.0000, which is not better" in done.out
    assert not (shop / "models/shop/2").exists()
    done = command("run", "shop", "--resume", "--run-id", "x")
    assert (done.code, done.err) == (
        2,
        "error: runs/shop/x is a run of `training retrain`, which does not continue; start it again\n",
    )
    assert "no run of shop under runs is left to resume" in command("run", "shop", "--resume").err
    assert command("evaluate", "runs/shop/x").code == 0


def test_exported_recordings_are_new_rows_and_those_without_an_answer_are_counted(shop, command):
    rows = new_messages()
    write_recorded(shop / "new.jsonl", [*rows, ("my parcel", None), ("the refund", None)])
    done = command("retrain", "shop", "--data", "new.jsonl", "--run-id", "x", *ENOUGH)
    assert done.code == 0, done.out
    assert "2 rows of new.jsonl left out: without the right answer" in done.out
    assert "nothing was published: add --publish" in done.out
    metrics = read_json(shop / "runs/shop/x/metrics.json")
    assert metrics["retrained"]["left_out"] == {"without the right answer": 2}
    assert metrics["retrained"]["rows"]["new"] + metrics["retrained"]["rows"]["held_out"] == 120


def test_copies_of_old_validation_and_test_rows_are_left_out_and_counted(shop, command):
    write_messages(shop / "new.csv", [*new_messages(), *read_tickets(shop)])
    done = command("retrain", "shop", "--data", "new.csv", "--run-id", "x", "--epochs", "1")
    assert done.code in {0, 3}, done.err
    assert "72 left out as copies of old validation or test rows" in done.out  # 36 and 36 of 240
    rows = read_json(shop / "runs/shop/x/metrics.json")["retrained"]["rows"]
    assert rows["copies"] == 72
    # The 168 old training rows among them are trained on, never measured on.
    assert rows["new"] + rows["held_out"] == 120 + 168
    assert rows["held_out"] < 60


def test_the_weights_of_a_run_and_of_a_version_are_those_of_keras(shop, monkeypatch):
    import tf_keras

    from training.data.reading import read_data
    from training.fit.run_files import read_weights
    from training.fit.stages import build_model
    from training.runs.catalogue import load_recipe

    run, version = (shop / each / "model.weights.h5" for each in ("runs/shop/first", "models/shop/1"))
    assert run.read_bytes() == version.read_bytes()
    assert "model.weights.h5" in read_json(shop / "models/shop/1/manifest.json")["files"]
    recipe = load_recipe(str(shop / "recipes/shop.py"))
    monkeypatch.chdir(shop)
    splits = read_data(recipe.data, recipe.pipeline, synthetic=False)
    model = build_model(recipe, recipe.pipeline.bind(splits.train, classes=3), classes=3)
    assert isinstance(model, tf_keras.Model)
    model.load_weights(run)
    for mine, kept in zip(model.get_weights(), read_weights(shop / "runs/shop/first/weights.npz"), strict=True):
        np.testing.assert_array_equal(mine, kept)


def test_a_retrained_version_is_not_reproduced(shop, command):
    metrics = shop / "models/shop/1/metrics.json"
    metrics.write_text(json.dumps(read_json(metrics) | {"retrained": {}}))
    done = command("reproduce", "shop")
    assert done.code == 2
    assert "models/shop/1 was retrained from another version, with rows that the recipe does not have" in done.err


def read_tickets(shop):
    lines = (shop / "tickets.csv").read_text().splitlines()[1:]
    return [(line.rpartition(",")[0].strip('"'), line.rpartition(",")[2]) for line in lines]
