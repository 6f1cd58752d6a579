"""Looks at a file of texts and drafts its recipe."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.contract.tokenizer import split_tokens
from training.errors import DataUnusable
from training.new.draft import Draft, balance, epochs_for, in_docstring, is_unbalanced, some, source
from training.new.target_options import NO_OPTIONS, TargetOptions
from training.sources.labels import label_of
from training.sources.table_file import TableFile, is_missing, read_table
from training.sources.text_table import texts_of

USUAL_NAMES = ("label", "labels", "tags", "target", "class", "category", "sentiment")
"""Columns that are the target if none is named, in this order."""
LONGEST = 400
"""Most tokens that the draft lets a network read."""

TEMPLATE = '''"""{which}: {labels}.

Drafted from {path}
Train and publish: python -m training run {name} --publish
Change a number for one run: --set network.units=64, --set fitting.epochs=20 (all settings: docs, "Training")
"""

from training.data.pipelines import TextPipeline
from training.data.settings import TextAugmentation
{task_import}from training.network.text_networks import TextNetwork, build_text_network
from training.recipe.fitting import Fitting, {loss_import}Optimizer, Schedule
from training.recipe.recipe import Recipe, Targets
from training.sources.text_table import TextTable

RECIPE = Recipe(
    name="{name}",
    description="{description}",
    data=TextTable(
        file={file},
        text={text},
        target={target},{options}
        validation_share=0.15,
        test_share=0.15,{skip}
    ),
    # The most frequent words of the training texts, which are published with the model; the others are unknown.
    pipeline=TextPipeline(
        vocabulary_size={vocabulary},
        max_length={longest},  # words of a text that are read
        keep="first",  # or "last": the end of a longer text
        augmentation=TextAugmentation(word_dropout=0.1),
    ),
    network=TextNetwork(name="bag", embedding=32, units=32, dropout=0.4),  # or name="cnn", "lstm", "gru"
    build=build_text_network,
{task}    optimizer=Optimizer(name="adam", learning_rate=0.005, schedule=Schedule(name="one-cycle")),
    fitting=Fitting(epochs={epochs}, batch_size={batch}, monitor="val_loss"{weights}),
    targets=Targets(test_accuracy=None),  # for example 0.9: nothing below it is published
)
'''


def look_at_texts(
    name: str, file: Path, text: str | None, target: str | None, options: TargetOptions = NO_OPTIONS
) -> Draft:
    """Read the texts and draft a recipe.

    Args:
        name: of the model.
        file: CSV or Parquet.
        text: column of the texts; None takes the one with the longest values.
        target: column of the labels; None takes one with a usual name, or the only other one.
        options: of the target.

    Raises:
        DataMissing, DataDamaged, DataUnusable: see ``read_table``; or a column is missing, or cannot be guessed.
    """
    table = read_table(file.resolve())
    text = text or _longest_column(table)
    target = target or usual_target(table, text)
    options.check(table, text, target)
    texts, labels = texts_of(table, text, skip=True), table.column(target)
    pairs = [(each, label_of(cell)) for each, cell in zip(texts, labels, strict=True) if each and not is_missing(cell)]
    if not pairs:
        raise DataUnusable(f"{table.path}: no row has both a text in {text!r} and a value in {target!r}")
    counts = options.counts([label for _, label in pairs])
    tokens = [split_tokens(each) for each, _ in pairs]
    lengths = np.array([len(each) for each in tokens])
    words = Counter(word for each in tokens for word in each)
    twice = sum(count > 1 for count in words.values())
    gaps = table.rows - len(pairs)
    contradicting = _contradicting(pairs)
    facts = [
        ("texts", f"{len(pairs)} in column {text!r}, {balance(counts)} in column {target!r}"),
        *options.facts([label for _, label in pairs]),
        ("words", f"{int(np.median(lengths))} in half of the texts, at most {lengths.max()}; {len(words)} different"),
        ("copies", f"{len(pairs) - len({each for each, _ in pairs})} texts are the copy of another one"),
        ("without text or label", f"{gaps} rows" if gaps else "none"),
    ]
    notes = []
    if gaps:
        notes.append("rows without a text or a label are left out (skip_without_target)")
    if contradicting:
        notes.append(f"{len(contradicting)} texts have several labels, such as {contradicting[0][:60]!r}: check them")
    unbalanced = is_unbalanced(counts) and not options.separator
    if unbalanced:
        notes.append("the classes differ in size by more than a factor of 2: the recipe weighs them (class_weights)")
    if min(counts.values()) < 50:
        notes.append(f"some {options.kind} have fewer than 50 texts: more texts help more than any setting")
    draft = TEMPLATE.format(
        which=f"Which of {len(counts)} {options.kind} a text {'has' if options.separator else 'belongs to'}",
        description=f"{options.which} of {len(counts)} {options.kind} of a text.",
        task_import=options.task_import,
        loss_import=options.loss_import,
        task=options.task,
        options=options.source,
        labels=in_docstring(some(list(counts), 10)),
        path=in_docstring(str(table.path)),
        name=name,
        file=source(str(table.path)),
        text=source(text),
        target=source(target),
        skip="\n        skip_without_target=True," if gaps else "",
        vocabulary=min(20_000, max(50, 2 + twice)),
        longest=int(np.clip(-(-np.percentile(lengths, 95) // 10) * 10, 10, LONGEST)),
        epochs=epochs_for(len(pairs), rows_in_all=100_000, least=6, most=40),
        batch=64 if len(pairs) >= 2000 else 16,
        weights=', class_weights="balanced"' if unbalanced else "",
    )
    return Draft(facts=facts, notes=notes, text=draft)


def _longest_column(table: TableFile) -> str:
    """The column with the most characters."""
    return max(table.columns, key=lambda name: sum(len(str(cell)) for cell in table.columns[name] if cell is not None))


def usual_target(table: TableFile, text: str) -> str:
    """The column of the labels besides ``text``. Raises DataUnusable if it cannot be guessed."""
    others = [name for name in table.columns if name != text]
    usual = [name for wanted in USUAL_NAMES for name in others if name.lower() == wanted]
    if usual or len(others) == 1:
        return (usual or others)[0]
    raise DataUnusable(
        f"{table.path}: which column is the label? Name it with --target; there are: {', '.join(others) or 'none'}"
    )


def _contradicting(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Texts that occur with several labels."""
    labels: dict[str, set[str]] = {}
    for each, label in pairs:
        labels.setdefault(each, set()).add(label)
    return [each for each, found in labels.items() if len(found) > 1]
