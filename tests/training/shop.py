"""A folder with messages to a shop, a recipe that learns them, and new messages that its model gets wrong."""

import json
from pathlib import Path

from app.contract.recordings.instance import print_line
from tests.support.own_data import write_tickets
from tests.support.recordings import document

RECIPE = """
from training.data.pipelines import TextPipeline
from training.network.text_networks import TextNetwork, build_text_network
from training.recipe.fitting import Fitting, Optimizer
from training.recipe.recipe import Recipe
from training.sources.text_table import TextTable

RECIPE = Recipe(
    name="shop",
    description="What a message is about.",
    data=TextTable(file="tickets.csv", text="message", target="topic"),
    pipeline=TextPipeline(vocabulary_size=300, max_length=20, bucket=20),
    network=TextNetwork(name="bag", embedding=8, units=8, dropout=0.0),
    build=build_text_network,
    optimizer=Optimizer(name="adam", learning_rate=0.02),
    fitting=Fitting(epochs=8, batch_size=16, monitor="val_loss"),
)
"""
# The words are known, but mean the opposite of what they meant before.
SAID = {
    "returns": ("the parcel is too small", "the parcel with the shoes is back"),
    "delivery": ("the box has not arrived", "the shoes for my order are not here"),
    "payment": ("the total for the parcel is wrong", "the box was charged again"),
}


def write_shop(folder: Path) -> None:
    """tickets.csv, and recipes/shop.py."""
    (folder / "recipes").mkdir()
    (folder / "recipes/shop.py").write_text(RECIPE)
    write_tickets(folder / "tickets.csv", count=240)


def new_messages(count: int = 120) -> list[tuple[str, str]]:
    """(text, label), all different."""
    topics = list(SAID)
    return [(f"{SAID[topics[number % 3]][number // 3 % 2]} ({number})", topics[number % 3]) for number in range(count)]


def write_messages(path: Path, rows: list[tuple[str, str]]) -> Path:
    """A CSV with the columns of tickets.csv."""
    path.write_text("message,topic\n" + "".join(f'"{text}",{label}\n' for text, label in rows))
    return path


def write_recorded(path: Path, rows: list[tuple[str, str | None]], **more) -> Path:
    """What ``python -m app recordings shop --export`` writes; None stands for no feedback."""
    lines = []
    for number, (text, label) in enumerate(rows):
        feedback = {} if label is None else {"feedback": {"label": label, "time_s": 1.0}}
        inputs = {"token_ids": {"text": text}}
        lines.append(print_line(document(f"r{number}", **({"model": "shop", "inputs": inputs} | feedback | more))))
    path.write_bytes(b"".join(lines))
    return path


def read_json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))
