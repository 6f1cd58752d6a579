"""Functions run eagerly: tracing the recurrent layers costs more than the few steps here."""

from datetime import date

import numpy as np
import pytest

from training.lessons.date_translation import (
    LONGEST,
    START,
    Translate,
    build,
    decoded,
    shifted,
    translate,
    written,
)
from training.recipe.lesson import LessonContext

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")
DATES = [date(1900, 9, 30), date(2026, 5, 1)]


@pytest.fixture(autouse=True)
def _eagerly():
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def test_dates_are_written_in_words_and_answered_in_digits():
    given, answers = written(DATES)
    assert [decoded(row) for row in given] == ["30 september 1900", "1 may 2026"]
    assert [decoded(row) for row in answers] == ["1900-09-30", "2026-05-01"]
    assert given.shape == (2, LONGEST)
    assert given[1, 10:].tolist() == [0] * 7
    assert shifted(answers)[:, 0].tolist() == [START, START]
    assert (shifted(answers)[:, 1:] == answers[:, :-1]).all()


def test_the_decoder_never_looks_at_padding_nor_ahead():
    network = build(8, attend=True)
    given, answers = written(DATES)
    scores, looks = network.predict_on_batch([given, shifted(answers)])
    assert looks[1, :, 10:].max() < 1e-6
    np.testing.assert_allclose(looks.sum(axis=-1), 1, rtol=0, atol=1e-5)
    later = answers.copy()
    later[:, 6:] = 3
    np.testing.assert_allclose(
        network.predict_on_batch([given, shifted(later)])[0][:, :7], scores[:, :7], rtol=0, atol=1e-6
    )
    assert translate(network, given)[:, 0].tolist() == scores[:, 0].argmax(axis=-1).tolist()


def test_too_little_learning_is_a_reported_miss(tmp_path, console):
    study = Translate(rows=64, units=8, epochs=1)
    found = study(LessonContext(directory=tmp_path, console=console))
    assert "new dates right, all ten characters" in {figure.name for figure in found.missed}
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
