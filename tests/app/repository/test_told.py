"""Log lines that are not repeated."""

from app.repository.told import Told


def test_the_same_content_is_news_once_and_other_content_again():
    told = Told()
    said = [told.is_news(subject, content) for subject, content in (("m", 1), ("m", 1), ("m", 2), ("n", 2), ("m", 1))]
    assert said == [True, False, True, True, True]
    assert [told.is_news("alone") for _ in range(2)] == [True, False]
