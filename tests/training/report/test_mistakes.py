import base64
import io
import json

import numpy as np
from PIL import Image

from training.datasets.splits import Examples
from training.measure.predictions import Predictions
from training.report.mistakes import LONGEST_TEXT, MOST, worst_mistakes

LABELS = ("cat", "dog")


def found(instances, truth, dog):
    """Mistakes of answers with these probabilities of a dog."""
    answers = np.stack([1 - np.float32(dog), np.float32(dog)], axis=1)
    truth = np.asarray(truth, np.int32)
    examples = Examples(instances=instances, labels=truth)
    return worst_mistakes(examples, Predictions(answers=answers, truth=truth), labels=LABELS)


def test_the_surest_mistakes_come_first_with_what_was_seen():
    mistakes = found(("a", "b", "c", "d"), [0, 0, 1, 1], [0.6, 0.9, 0.2, 0.8])
    assert [(mistake["row"], mistake["text"]) for mistake in mistakes] == [(1, "b"), (2, "c"), (0, "a")]
    assert (mistakes[1]["right"], mistakes[1]["predicted"]) == ("dog", "cat")
    assert (round(mistakes[1]["right_probability"], 3), round(mistakes[1]["predicted_probability"], 3)) == (0.2, 0.8)
    assert json.loads(json.dumps(mistakes)) == mistakes


def test_pictures_are_inside_the_page_in_grey_and_in_colour():
    for shape in ((4, 6), (4, 6, 3)):
        pictures = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
        [mistake] = found(pictures, [0, 0, 1], [0.1, 0.7, 0.9])
        start, _, content = mistake["picture"].partition(",")
        assert start == "data:image/png;base64"
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), pictures[1])


def test_rows_of_a_table_show_their_columns():
    rows = np.array([(39.5, b"Bern"), (7, "Zürich".encode())], dtype=[("age", np.float32), ("city", object)])
    [first, second] = found(rows, [1, 1], [0.1, 0.2])
    assert (first["text"], second["text"]) == ("age = 39.5, city = Bern", "age = 7, city = Zürich")


def test_named_arrays_show_their_first_numbers():
    kinds = [("pair", np.float32, (2,)), ("film", np.uint8, (2, 3, 3, 1)), ("age", np.float32)]
    rows = np.array([((0.5, 2), np.arange(18).reshape(2, 3, 3, 1), 7)], kinds)
    [mistake] = found(rows, [1], [0.1])
    assert mistake["text"] == "pair = [0.5, 2], film = [0, 1, 2, 3, 4, 5, 6, 7, ...], age = 7"


def test_numbers_are_listed():
    [mistake] = found(np.float32([[1.5, -2.25]]), [1], [0.1])
    assert mistake["text"] == "1.5, -2.25"


def test_long_texts_are_cut_and_the_number_of_mistakes_is_limited():
    mistakes = found(tuple("x" * 1000 for _ in range(100)), np.ones(100), np.full(100, 0.1))
    assert len(mistakes) == MOST
    assert {len(mistake["text"]) for mistake in mistakes} == {LONGEST_TEXT + len(" ...")}


def test_without_mistakes_there_are_none():
    assert found(("a", "b"), [0, 1], [0.1, 0.9]) == []
