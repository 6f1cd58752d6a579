import numpy as np
import pytest

from training.lessons.people_vectors import (
    NOISE,
    RECIPE,
    People,
    Vectors,
    invent,
    linear_error,
    neighbour_error,
    normalised,
    one_hot,
    region_rents,
    shares_of_distance,
)
from training.recipe.lesson import LessonContext


def test_a_region_is_a_category_and_an_embedding_finds_its_rent(tmp_path, console):
    found = RECIPE.study(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert NOISE * 0.9 < values["one-hot, linear error"] < values["linear error, raw numbers"] / 2
    assert values["share of age in a raw distance"] < 1e-5
    assert values["condition of raw numbers"] > 1e6 * values["condition of normalised numbers"]
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_network_that_has_hardly_learned_is_a_reported_miss(tmp_path, console):
    few = Vectors(known=50, new=50, epochs=1)(LessonContext(directory=tmp_path, console=console))
    assert "error of the network with an embedding" in [figure.name for figure in few.missed]


def test_people_have_the_rents_of_their_regions_which_are_in_no_order():
    people = invent(5000, seed=3, part=0)
    rest = people.rents - 2 * people.numbers[:, 0] - 0.006 * people.numbers[:, 2]
    means = [rest[people.regions == region].mean() for region in range(10)]
    np.testing.assert_allclose(means, region_rents(3), atol=5 * NOISE / 450**0.5)
    assert sorted(region_rents(3)) != region_rents(3).tolist()


def test_known_people_give_the_mean_and_the_deviation():
    known = People(numbers=np.array([[20.0, 10_000, 1000], [40, 30_000, 3000]]), rents=np.zeros(2))
    new = People(numbers=np.array([[30.0, 40_000, 5000]]), rents=np.zeros(1))
    assert normalised(new, known).tolist() == [[0, 2, 3]]
    assert new.regions.tolist() == [4]
    assert one_hot(new.regions).tolist() == [[0, 0, 0, 0, 1, 0, 0, 0, 0, 0]]


def test_errors_and_shares_by_hand():
    line = np.arange(4.0)[:, None]
    assert linear_error(line, 3 * line[:, 0] + 1, np.array([[10.0]]), np.array([33.0])) == pytest.approx(2)
    known = np.repeat([[0.0], [100.0]], 15, axis=0)
    rents = np.repeat([5.0, 9.0], 15)
    assert neighbour_error(known, rents, np.array([[90.0], [10.0]]), np.array([9.0, 6.0])) == pytest.approx(0.5**0.5)
    np.testing.assert_allclose(shares_of_distance(np.array([[0.0, 0], [2, 6]])), [0.1, 0.9])
