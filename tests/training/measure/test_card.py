from html import escape

import pytest
import yaml
from markdown_it import MarkdownIt

from tests.training.measured import METRICS
from training.measure.card import model_card


def test_the_card_has_metrics_data_and_the_command_to_reproduce_it():
    card = model_card("tiny-images", "Dark or bright.", METRICS)
    assert "---\n\n# tiny-images\n\nDark or bright." in card
    assert "| Test accuracy | 0.6667 on 3 rows |" in card
    assert "| dark | 0.500 | 1.000 |" in card
    assert "python -m training run tiny-images --set fitting.epochs=2 --publish" in card


def test_without_a_test_the_card_states_that_it_was_not_tested():
    card = model_card("tiny-images", "Dark or bright.", METRICS | {"test": None})
    assert "| Test part | not measured |" in card


def test_a_setting_of_several_values_is_quoted_for_the_shell_and_a_bar_for_the_table():
    metrics = METRICS | {"overrides": ["network.widths=(8, 8)"], "warnings": ["either | or"]}
    card = model_card("tiny-images", "Dark or bright.", metrics)
    assert "run tiny-images --set 'network.widths=(8, 8)' --publish" in card
    assert "| Warning | either \\| or |" in card


@pytest.mark.parametrize("label", ["a|b", "a\\|b", "<script>alert(1)</script>", "a\r\nb", "---", "x: {y}", "&lt;"])
def test_a_label_is_text_in_the_card_whatever_it_is_spelt(label):
    row = METRICS["test"]["per_class"]["dark"]
    metrics = METRICS | {
        "test": METRICS["test"] | {"per_class": {label: row}},
        "modality": "images",
        "dataset": METRICS["dataset"] | {"name": label},
    }
    head, card = model_card("tiny-images", "Dark or bright.", metrics).split("---\n\n# ", 1)
    page = MarkdownIt("commonmark").enable("table").render(card)
    assert f"<td>{escape(' '.join(label.split()), quote=False)}</td>" in page
    assert "<script" not in page
    assert yaml.safe_load(head)["library_name"] == "onnx"
