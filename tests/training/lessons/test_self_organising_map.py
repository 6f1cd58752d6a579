import numpy as np
import pytest

from training.lessons.self_organising_map import (
    EDGE,
    PLACES,
    Organise,
    neighbour_distance,
    organise,
    quantisation_error,
    topographic_error,
)
from training.recipe.lesson import LessonContext


def test_neighbours_that_learn_together_order_the_map(tmp_path, console):
    found = Organise(colours=200, steps=2000)(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_too_few_steps_are_a_reported_miss(tmp_path, console):
    missed = Organise(colours=50, steps=1)(LessonContext(directory=tmp_path, console=console)).missed
    assert {"organised, apart", "organised, neighbours"} <= {figure.name for figure in missed}


def test_one_step_moves_the_winner_by_the_rate_and_others_by_their_distance_on_the_grid():
    units = np.zeros((EDGE * EDGE, 3))
    units[44] = 0.5
    x = np.array([1.0, 1.0, 1.0])
    moved = organise(units, x[None], np.array([0.1]), np.array([2.0]))
    assert moved[44] == pytest.approx([0.55] * 3)
    assert PLACES[44].tolist() == [4, 4]
    assert moved[46] == pytest.approx([0.1 * np.exp(-4 / 8)] * 3)
    assert moved[0] == pytest.approx([0.1 * np.exp(-32 / 8)] * 3)
    assert (units[0] == 0).all()


def test_the_measures_of_an_ordered_line_of_greys():
    greys = (PLACES @ [EDGE, 1.0] / 99)[:, None].repeat(3, axis=1)
    assert quantisation_error(greys, greys[:50]) == 0
    assert topographic_error(greys, greys[10:18] + 1e-4) == 0  # within a row the next grey is next to it
    assert topographic_error(greys, greys[9:10] + 1e-4) == 1  # the next grey is at the start of the next row
    assert neighbour_distance(greys) == pytest.approx(3**0.5 * (1 / 99 + 10 / 99) / 2)
