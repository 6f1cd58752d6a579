from itertools import pairwise

import httpx
import numpy as np

from app.contract.golden import Golden
from tests.support.service import Service, start_fixture
from training.overrides import apply_overrides
from training.recipes.moving_drawings import DIRECTIONS, FRAMES, INPUT, RECIPE, STEPS, MovingDrawings, standing_still
from training.runs.record import Plan
from training.runs.run import run

start = start_fixture(Service)
SMALL = ["data.rows=400", "network.filters=4,8", "fitting.epochs=7", "fitting.batch_size=16", "study.at_least=0.8"]


def frames_of(part) -> np.ndarray:
    return np.asarray(part.instances)[INPUT]


def test_the_published_network_sees_motion_one_frame_is_chance_and_the_service_agrees(tmp_path, console, start):
    recipe = apply_overrides(RECIPE, SMALL)
    outcome = run(recipe, Plan(test=True, repository=tmp_path / "models"), directory=tmp_path / "run", console=console)
    assert outcome.findings.missed == ()
    golden, service = Golden.read(outcome.version), start(tmp_path / "models")
    assert set(golden.outputs["probabilities"].argmax(axis=1)) == {0, 1, 2, 3}
    body = {"instances": golden.inputs[INPUT].tolist()}
    answer = httpx.post(f"{service.url}/v1/models/moving-drawings:predict", json=body).raise_for_status()
    np.testing.assert_allclose(answer.json()["predictions"], golden.outputs["probabilities"], atol=1e-5)  # float32


def test_a_network_that_has_not_learned_misses_its_figure(tmp_path, console):
    blind = apply_overrides(RECIPE, [*SMALL, "data.rows=64", "fitting.epochs=1", "optimizer.learning_rate=0"])
    outcome = run(blind, Plan(), directory=tmp_path, console=console)
    assert [figure.name for figure in outcome.findings.missed] == ["accuracy with six frames"]


def test_each_film_moves_its_way_and_comes_back_at_the_other_side():
    part = MovingDrawings(rows=80, noise=1).load().train
    for film, label in zip(frames_of(part)[..., 0] > 100, part.labels, strict=True):
        row, column = STEPS[DIRECTIONS[label]]
        steps = [
            speed
            for speed in (1, 2)
            if all((np.roll(one, (speed * row, speed * column), (0, 1)) == two).all() for one, two in pairwise(film))
        ]
        assert len(steps) == 1
    assert np.bincount(part.labels).tolist() == [20] * 4


def test_pictures_of_one_frame_are_alike_whatever_the_direction():
    part = MovingDrawings(rows=4000, noise=1).load().train
    frames = frames_of(part)[:, FRAMES // 2, :, :, 0].astype(np.float64)
    means = [frames[part.labels == label].mean(axis=0) for label in range(4)]
    error = frames.std() / 1000**0.5
    assert max(np.abs(mean - frames.mean(axis=0)).max() for mean in means) < 5 * error


def test_a_film_that_stands_still_has_its_middle_frame_throughout():
    films = np.asarray(MovingDrawings(rows=8).load().train.instances)
    still = standing_still(films)[INPUT]
    assert (still == films[INPUT][:, 3:4]).all()
    assert not (films[INPUT] == films[INPUT][:, 3:4]).all()
