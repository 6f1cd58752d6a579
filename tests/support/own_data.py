"""Data as a user might have it: folders of pictures, files of texts, tables; drawn, so that none is from a data set."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "triangle")


def write_pictures(
    folder: Path,
    *,
    count: int = 300,
    seed: int = 0,
    classes: tuple[str, ...] = SHAPES,
    edges: tuple[int, int] = (120, 480),
) -> None:
    """``count`` pictures of shapes, JPEG and PNG, in one folder for each class; edges from the first to the second."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        label = classes[number % len(classes)]
        (folder / label).mkdir(parents=True, exist_ok=True)
        width, height = (int(edge) for edge in rng.integers(*edges, 2))
        picture = draw_shape(label, width, height, rng)
        suffix = "png" if number % 5 == 0 else "jpg"
        picture.save(folder / label / f"{number:04d}.{suffix}")


def draw_shape(label: str, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """One filled shape on a noisy ground of another colour, within the central square."""
    ground = rng.integers(0, 256, 3)
    noise = rng.normal(0, 12, (height, width, 3))
    picture = Image.fromarray(np.clip(ground + noise, 0, 255).astype(np.uint8))
    colour = tuple(int(value) for value in (ground + rng.integers(80, 176, 3)) % 256)
    edge = min(width, height)
    radius = int(edge * rng.uniform(0.2, 0.35))
    x, y = (int(size / 2 + rng.uniform(-0.1, 0.1) * edge) for size in (width, height))
    draw = ImageDraw.Draw(picture)
    if label == "circle":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    elif label == "square":
        draw.rectangle((x - radius, y - radius, x + radius, y + radius), fill=colour)
    else:
        draw.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=colour)
    return picture


def write_flats(path: Path, *, count: int = 1000, seed: int = 0) -> None:
    """A CSV of flats: rooms, size, city, year, quiet, and the rent that follows from them, with gaps."""
    rng = np.random.default_rng(seed)
    cities = {"Bern": 1.0, "Zürich": 1.5, "Basel": 1.1, "Chur": 0.8}
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("id,rooms,size m2,city,year,quiet,rent\n")
        for number in range(count):
            rooms, city = int(rng.integers(1, 7)), str(rng.choice(list(cities)))
            size, year = round(rooms * 22 + float(rng.normal(0, 8)) + 12, 1), int(rng.integers(1900, 2026))
            quiet = rng.random() < 0.5
            rent = (300 + 11 * size + 2 * (year - 1900) + 150 * quiet) * cities[city] + rng.normal(0, 60)
            shown_year = "" if rng.random() < 0.1 else year
            shown_city = "" if rng.random() < 0.05 else city
            file.write(f"{number},{rooms},{size},{shown_city},{shown_year},{'yes' if quiet else 'no'},{rent:.0f}\n")


def write_members(path: Path, *, count: int = 1000, seed: int = 0) -> None:
    """A CSV of members of a club: age, visits, plan, and whether they stay; a fifth leaves."""
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("age,visits,plan,stays\n")
        for _ in range(count):
            age, visits = int(rng.integers(16, 80)), int(rng.poisson(6))
            plan = str(rng.choice(["basic", "plus", "family"], p=[0.6, 0.3, 0.1]))
            score = 0.5 * visits - 2.6 + {"basic": 0, "plus": 1, "family": 2}[plan] + float(rng.normal(0, 0.5))
            file.write(f"{'' if rng.random() < 0.05 else age},{visits},{plan},{'yes' if score > 0 else 'no'}\n")


def write_tickets(path: Path, *, count: int = 600, seed: int = 0) -> None:
    """A CSV of messages to a shop, each about delivery, payment or returns."""
    rng = np.random.default_rng(seed)
    topics = {
        "delivery": ("the parcel has not arrived", "the courier left it in the rain", "tracking shows no movement"),
        "payment": ("my card was charged twice", "the invoice has a wrong total", "the refund is not on my account"),
        "returns": ("the shoes are too small", "I want to send it back", "the label for the box is missing"),
    }
    openings = ("Hello,", "Good morning,", "Please help:", "Hi there,", "To whom it may concern,")
    middles = ("since last week", "for my order", "again", "as on Monday", "and nobody answers", "although I paid")
    endings = ("Thank you!", "What can I do?", "Regards", "I am waiting.", "Is this normal?")
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("message,topic\n")
        for number in range(count):
            topic = list(topics)[number % 3]
            parts = (rng.choice(openings), rng.choice(topics[topic]), rng.choice(middles), f"({number}).")
            file.write(f'"{" ".join(map(str, parts))} {rng.choice(endings)}",{topic}\n')
