"""Looks at a folder of pictures and drafts its recipe."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.contract.images.image_file import open_image
from app.errors import ServingError
from training.errors import DataUnusable
from training.network.backbones import NONE, Backbone
from training.new.draft import Draft, balance, epochs_for, in_docstring, is_unbalanced, some, source, tuple_source
from training.new.target_options import NO_OPTIONS, TargetOptions
from training.sources.image_folder import Found
from training.sources.image_listing import WHOLE, list_images

EDGES = (32, 48, 64, 96)
"""Sizes of the network's input: the largest that half of the pictures fill."""
TRAINED_ROWS = 40_000
"""Pictures that a training sees in all its epochs; there are 15 to 40 epochs."""
BACKBONE_EDGES = (96, 128, 160, 224)
"""The same for a backbone, which was trained with 224, and its training."""
BACKBONE_ROWS = 8_000
HEAD_EPOCHS = 5

FROM_SCRATCH = {
    "kind": "convolutional",
    "network_imports": "image_networks import ImageNetwork, build_image_network",
    "network": """    network=ImageNetwork(name="small-cnn", filters=16, dropout=0.3),  # or name="residual-cnn"
    build=build_image_network,""",
    "example": "network.filters=32",
    "rate": 0.003,
    "schedule": "one-cycle",
}
RANDOM_BACKBONE = {
    **FROM_SCRATCH,
    "network_imports": "backbones import Backbone, build_backbone",
    "network": """    network=Backbone(name="{backbone}", weights="none"),  # all layers learn
    build=build_backbone,""",
    "example": "network.dropout=0.5",
}
ON_A_BACKBONE = {
    "kind": "pre-trained",
    "network_imports": "backbones import Backbone, build_backbone, head_stage",
    "network": """    # First a new last layer learns; then the last layers of the backbone learn too, in small steps.
    network=Backbone(name="{backbone}", weights={weights}, trained_layers=40),
    build=build_backbone,
    stages=(head_stage(epochs={head_epochs}, batch_size={batch}),),""",
    "example": "network.trained_layers=80",
    "rate": 0.0003,
    "schedule": "cosine",
}

TEMPLATE = '''"""{which} a picture shows: {labels}.

Drafted from {path}
Train and publish: python -m training run {name} --publish
Change a number for one run: --set {example}, --set fitting.epochs=60 (all settings: docs, "Training")
"""

from app.contract.steps import TransformStep
from training.data.pipelines import ImagePipeline
from training.data.settings import ImageAugmentation
{task_import}from training.network.{network_imports}
from training.recipe.fitting import Fitting, {loss_import}Optimizer, Schedule
from training.recipe.recipe import Recipe, Targets
from training.sources.{source_import}

SIZE = {size}  # pixels along each edge of what the network sees; larger is slower and may be more accurate

RECIPE = Recipe(
    name="{name}",
    description="{description} in pictures, by a {kind} network.",
{data}
    # Training and service turn a picture into pixels with these steps.
    pipeline=ImagePipeline(
        steps=(
            TransformStep(step="crop_square"),
            TransformStep(step="resize", arguments={{"width": SIZE, "height": SIZE}}),
        ),
        # Each epoch sees each picture in another way. flip=False if left and right matter, as in letters.
        augmentation=ImageAugmentation(flip=True, warp=0.7, zoom=0.15, contrast=0.2, brightness=15),
    ),
{network}
{task}    optimizer=Optimizer(
        name="adamw", learning_rate={rate}, schedule=Schedule(name="{schedule}"), weight_decay=0.01
    ),
    fitting=Fitting(
        epochs={epochs},
        batch_size={batch},
        monitor="val_loss",
        class_weights="{weights}",  # "balanced" if a rare class matters as much as a frequent one
    ),
    targets=Targets(test_accuracy=None),  # for example 0.9: nothing below it is published
)
'''


FOLDER = """    # One folder for each class. 15 % of each class choose the best epoch, 15 % test the result.
    data=ImageFolder(
        folder={folder},
        validation_share=0.15,
        test_share=0.15,
        leave_out={leave_out},
    ),"""


def look_at_images(name: str, folder: Path, backbone: Backbone | None = None) -> Draft:
    """Open the header of every picture, compare all contents, and draft a recipe.

    Args:
        name: of the model.
        folder: as in ``ImageFolder``.
        backbone: the pre-trained network to start from; None: a small network, from scratch.

    Raises:
        DataMissing, DataUnusable: see ``list_images``; or no picture can be used.
    """
    folder = folder.resolve()
    found = Found(list_images(folder))
    listing = found.listing
    names = [picture for part in listing.parts.values() for picture in part]
    sizes, broken = sizes_of(folder, names)
    copies = found.copies()
    contradicting = sorted({picture for group in found.contradictions() for picture in group})
    leaking = sorted({picture for group in found.leaks() for picture in group[:-1]} - set(contradicting))
    leave_out = sorted({*broken, *contradicting, *leaking})
    counts = _counts(found, leave_out)
    if not any(counts.values()):
        reasons = [f"{picture}: {reason}" for picture, reason in broken.items()]
        reason = reasons[0] if reasons else "each has the content of one in another class"
        raise DataUnusable(f"{folder}: none of the {len(names)} pictures can be used; {reason}")
    size = size_for(sizes, backbone)
    facts = [
        ("pictures", f"{sum(counts.values())} in {len(listing.labels)} classes: {balance(counts)}"),
        ("parts", _parts(found)),
        ("sizes", extent(sizes, size)),
        ("copies", f"{copies} files have the content of another file" if copies else "none"),
        ("cannot be read", f"{len(broken)}: {some(list(broken))}" if broken else "none"),
    ]
    notes = [f"left out: {picture}: {reason}" for picture, reason in broken.items()]
    notes += [f"left out: {picture}: the same content in several classes" for picture in contradicting]
    notes += [f"left out: {picture}: also in another part" for picture in leaking]
    if listing.ignored:
        notes.append(f"not pictures: {some(listing.ignored)}")
    if is_unbalanced(counts):
        notes.append("the classes differ in size by more than a factor of 2: the recipe weighs them (class_weights)")
    if min(counts.values()) < 50:
        notes.append("some classes have fewer than 50 pictures: more pictures help more than any setting")
    rows = sum(counts.values())
    batch = 32 if rows >= 600 else 16
    text = TEMPLATE.format(
        **network_of(backbone, batch),
        **as_classes(len(counts)),
        labels=in_docstring(some(list(counts), 10)),
        path=in_docstring(str(folder)),
        data=FOLDER.format(folder=source(str(folder)), leave_out=tuple_source(leave_out)),
        source_import="image_folder import ImageFolder",
        name=name,
        size=size,
        epochs=epochs_of(rows, backbone),
        batch=batch,
        weights="balanced" if is_unbalanced(counts) else "none",
    )
    return Draft(facts=facts, notes=notes, text=text)


def size_for(sizes: Sequence[tuple[int, int]], backbone: Backbone | None) -> int:
    """The edge of the network's input: the largest that half of the pictures fill."""
    edges = EDGES if backbone is None else BACKBONE_EDGES
    return max(edge for edge in edges if edge <= max(edges[0], np.median([min(each) for each in sizes])))


def epochs_of(rows: int, backbone: Backbone | None) -> int:
    """Epochs for this many pictures."""
    if backbone is None or backbone.weights == NONE:
        return epochs_for(rows, rows_in_all=TRAINED_ROWS, least=15, most=40)
    return epochs_for(rows, rows_in_all=BACKBONE_ROWS, least=5, most=15)


def as_classes(count: int, options: TargetOptions = NO_OPTIONS) -> dict[str, str]:
    """What the template says of the target."""
    return {
        "which": f"Which of {count} {options.kind}",
        "description": f"{options.which} of {count} {options.kind}",
        "task_import": options.task_import,
        "loss_import": options.loss_import,
        "task": options.task,
    }


def network_of(backbone: Backbone | None, batch: int) -> dict[str, object]:
    """What the template says of the network and its training."""
    if backbone is None:
        return dict(FROM_SCRATCH)
    kind = RANDOM_BACKBONE if backbone.weights == NONE else ON_A_BACKBONE
    network = str(kind["network"]).format(
        backbone=backbone.name, weights=source(backbone.weights), head_epochs=HEAD_EPOCHS, batch=batch
    )
    return {**kind, "network": network}


def sizes_of(folder: Path, names: Sequence[str]) -> tuple[list[tuple[int, int]], dict[str, str]]:
    """(width, height) of each picture, and the reason for each that cannot be decoded, as in the service."""
    sizes, broken = [], {}
    for name in names:
        try:
            file = open_image((folder / name).read_bytes(), longest_edge=EDGES[-1])
            size = file.image.size
            file.decode()
        except ServingError as error:
            broken[name] = str(error)
        except OSError as error:
            broken[name] = str(error.strerror)
        else:
            sizes.append(size)
    return sizes or [(0, 0)], broken


def _counts(found: Found, leave_out: Sequence[str]) -> dict[str, int]:
    """Label -> number of usable pictures."""
    listing, unused = found.listing, set(leave_out)
    counted = Counter(
        listing.labels[int(number)]
        for part, names in listing.parts.items()
        for name, number in zip(names, listing.classes[part], strict=True)
        if name not in unused
    )
    return {label: counted[label] for label in listing.labels}


def _parts(found: Found) -> str:
    parts = found.listing.parts
    if WHOLE in parts:
        return "none of its own; the recipe takes 15 % of each class to validate and 15 % to test"
    return ", ".join(f"{part} {len(names)}" for part, names in parts.items())


def extent(sizes: Sequence[tuple[int, int]], size: int) -> str:
    """The sizes in words, and what the network sees."""
    widths, heights = zip(*sizes, strict=True)
    kinds = len(set(sizes))
    seen = (
        f"all {widths[0]}x{heights[0]}"
        if kinds == 1
        else (
            f"{kinds} different, {min(widths)} to {max(widths)} pixels wide and {min(heights)} to {max(heights)} high"
        )
    )
    return f"{seen}; the network sees {size}x{size}"
