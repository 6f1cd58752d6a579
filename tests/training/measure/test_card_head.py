"""The head of a card has the form of the Hub's own specification (hub-docs, modelcard.md), and only known facts."""

import copy
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from tests.training.measured import METRICS
from training.measure.card import model_card


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metric(Strict):
    type: str
    value: float
    name: str


class Task(Strict):
    type: str


class Dataset(Strict):
    type: str
    name: str
    split: str


class Result(Strict):
    task: Task
    dataset: Dataset
    metrics: list[Metric] = Field(min_length=1)


class Index(Strict):
    name: str
    results: list[Result] = Field(min_length=1)


class Head(Strict):
    license: str | None = None
    library_name: str
    pipeline_tag: str | None = None
    tags: list[str]
    datasets: list[str] | None = None
    metrics: list[str] | None = None
    index: list[Index] | None = Field(default=None, alias="model-index")


def head_of(metrics: dict[str, Any]) -> Head:
    """Of the card, as the Hub reads it: what is between the first two lines of dashes."""
    empty, head, body = model_card("tiny-images", "Dark or bright.", metrics).split("---\n", 2)
    assert not empty
    assert body.startswith("\n# tiny-images\n")
    return Head.model_validate(yaml.safe_load(head))


def test_the_head_states_task_data_and_the_results_of_both_parts():
    data = METRICS["dataset"] | {"name": "Fashion-MNIST"}
    more = {"modality": "images", "license": "apache-2.0", "dataset": data}
    head = head_of(METRICS | more | {"export": {"tflite_bytes": 1, "parity": {"tflite": {"1": 0.0}}}})
    assert (head.license, head.library_name, head.pipeline_tag) == ("apache-2.0", "onnx", "image-classification")
    assert head.datasets == ["zalando-datasets/fashion_mnist"]
    assert "tflite" in head.tags
    [index] = head.index
    assert index.name == "tiny-images"
    assert [result.dataset.split for result in index.results] == ["test", "validation"]
    found = {metric.type: metric.value for metric in index.results[0].metrics}
    assert found["accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["f1"] == pytest.approx(2 / 3, abs=1e-6)
    assert set(head.metrics) == set(found)


@pytest.mark.parametrize(
    ("modality", "figures", "task"),
    [
        ("tables", {"rows": 3, "mae": 1.0, "rmse": 2.0}, "tabular-regression"),
        ("texts", {"rows": 3, "accuracy": 0.5, "log_loss": 1.0, "perplexity": 2.7}, "text-generation"),
    ],
)
def test_other_tasks_have_their_own_name_and_figures(modality, figures, task):
    head = head_of(METRICS | {"modality": modality, "test": figures, "validation": None})
    assert head.pipeline_tag == task
    [result] = head.index[0].results
    assert {metric.value for metric in result.metrics} == {value for key, value in figures.items() if key != "rows"}


def test_sets_of_labels_are_a_classification_with_figures_of_their_own():
    each = {"precision": 1.0, "recall": 0.5, "f1": 0.67, "rows": 2}
    figures = {"rows": 3, "threshold": 0.5, "micro_f1": 0.7, "macro_f1": 0.6, "exact_match": 0.3, "log_loss": 0.4}
    figures |= {"per_label": {"late": each, "broken": each}}
    head = head_of(METRICS | {"modality": "texts", "test": figures, "validation": None})
    assert head.pipeline_tag == "text-classification"
    [result] = head.index[0].results
    assert sorted((metric.type, metric.value) for metric in result.metrics) == [
        ("exact_match", 0.3),
        ("f1", 0.6),
        ("f1", 0.7),
        ("log_loss", 0.4),
    ]


def test_several_outputs_have_no_task_of_the_hub():
    heads = {"rows": 3, "heads": {"size": {"rows": 3, "mae": 1.0, "rmse": 2.0}, "kind": METRICS["test"]}}
    head = head_of(METRICS | {"modality": "images", "test": heads, "validation": None})
    assert (head.pipeline_tag, head.index) == (None, None)


def test_what_is_not_known_is_left_out():
    unmeasured = copy.deepcopy(METRICS) | {"test": None, "validation": None, "modality": "numbers"}
    head = head_of(unmeasured)
    assert head.model_fields_set == {"library_name", "tags"}


def test_a_card_says_what_the_model_is_for_and_where_it_ends():
    card = model_card("tiny-images", "Dark or bright.", METRICS | {"modality": "images"})
    assert "## Intended use\n\nAnswers for images of the kind of tiny" in card
    assert "## Limits\n\nThe model knows only these 2 classes" in card
