"""The head of a model card: facts in YAML, by which the Hub of Hugging Face finds, describes and compares models.

Source: Hugging Face, hub-docs, modelcard.md; huggingface_hub.ModelCardData. What is not known has no key: the Hub has
no word for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import yaml

from app.contract.steps import ImagePreprocessing, TextPreprocessing
from training.data.pipelines import Feed
from training.datasets.splits import SYNTHETIC

Document = Mapping[str, Any]
Modality = Literal["images", "texts", "tables", "numbers"]

LIBRARY = "onnx"
"""Of ``library_name``: what loads a version without Atelier."""
TAGS = ("atelier", "tf-keras", "saved-model")
DATASETS = {
    "Fashion-MNIST": "zalando-datasets/fashion_mnist",
    "CIFAR-10 cats and dogs": "uoft-cs/cifar10",
    "IMDB Large Movie Review Dataset v1.0": "stanfordnlp/imdb",
    "Tiny Shakespeare": "karpathy/tiny_shakespeare",
}
"""Name of a data set -> its name on the Hub."""
FIGURES = {
    "accuracy": ("accuracy", "Accuracy"),
    "f1": ("f1", "F1, mean of the classes"),
    "micro_f1": ("f1", "F1 of all labels together"),
    "macro_f1": ("f1", "F1, mean of the labels"),
    "exact_match": ("exact_match", "Sets of labels that are right as a whole"),
    "log_loss": ("log_loss", "Log loss"),
    "calibration_error": ("expected_calibration_error", "Calibration error"),
    "perplexity": ("perplexity", "Perplexity"),
    "mae": ("mae", "Mean absolute error"),
    "rmse": ("rmse", "Root mean squared error"),
}
"""Figure of an evaluation -> the Hub's type of it, and its name."""
_TASKS = {
    ("images", "classes"): "image-classification",
    ("texts", "classes"): "text-classification",
    ("texts", "tokens"): "text-generation",
    ("tables", "classes"): "tabular-classification",
    ("tables", "numbers"): "tabular-regression",
    ("numbers", "classes"): "tabular-classification",
    ("numbers", "numbers"): "tabular-regression",
}


def modality(feed: Feed) -> Modality:
    """What a model takes."""
    if isinstance(feed.preprocessing, ImagePreprocessing):
        return "images"
    if isinstance(feed.preprocessing, TextPreprocessing):
        return "texts"
    return "tables" if feed.table else "numbers"


def card_head(name: str, metrics: Document) -> str:
    """The head, with the lines around it.

    Args:
        name: of the model.
        metrics: metrics.json; ``modality`` and ``license`` may be missing.
    """
    task = _task(metrics)
    dataset = metrics["dataset"]
    results = list(_results(metrics, task)) if task else []
    document = {
        "license": metrics.get("license"),
        "library_name": LIBRARY,
        "pipeline_tag": task,
        "tags": [*TAGS, *(["tflite"] if "tflite_bytes" in metrics.get("export", {}) else [])],
        "datasets": [DATASETS[dataset["name"]]] if dataset["name"] in DATASETS else None,
        "metrics": sorted({metric["type"] for result in results for metric in result["metrics"]}) or None,
        "model-index": [{"name": name, "results": results}] if results else None,
    }
    stated = {key: value for key, value in document.items() if value is not None}
    return f"---\n{yaml.safe_dump(stated, sort_keys=False, allow_unicode=True, width=120)}---\n"


def _task(metrics: Document) -> str | None:
    """The Hub's name of the task; None for one that it does not have."""
    figures = metrics["test"] or metrics["validation"] or {}
    if not figures or "heads" in figures:
        return None
    named = "per_class" in figures or "per_label" in figures
    answers = "classes" if named else "tokens" if "perplexity" in figures else "numbers"
    return _TASKS.get((metrics.get("modality", ""), answers))


def _results(metrics: Document, task: str) -> Iterator[dict[str, Any]]:
    """The figures of each part that was measured."""
    dataset = metrics["dataset"]
    kind = DATASETS.get(dataset["name"], SYNTHETIC if dataset["form"] == SYNTHETIC else "own")
    for part in ("test", "validation"):
        if figures := metrics[part]:
            yield {
                "task": {"type": task},
                "dataset": {"type": kind, "name": dataset["name"], "split": part},
                "metrics": [
                    {"type": type_, "name": title, "value": round(value, 6)}
                    for key, (type_, title) in FIGURES.items()
                    if (value := _figure(figures, key)) is not None
                ],
            }


def _figure(figures: Document, key: str) -> float | None:
    """A figure of an evaluation; F1 is the mean of that of all classes."""
    if key != "f1":
        return figures.get(key)
    per_class = [row["f1"] for row in figures.get("per_class", {}).values() if "f1" in row]
    return sum(per_class) / len(per_class) if per_class else None
