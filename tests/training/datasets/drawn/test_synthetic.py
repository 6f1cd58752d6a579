import numpy as np
import pytest
from PIL import Image

from app.contract.tokenizer import split_tokens
from training.datasets.drawn.synthetic import coloured_blobs, draw_garment, draw_photo, fashion_images, sentences
from training.datasets.fashion_labels import FASHION_LABELS


def box(image):
    """Left, top, right, bottom of the pixels that are not black."""
    return Image.fromarray(image).getbbox()


def test_garments_come_in_ten_classes_equally_often():
    images, labels = fashion_images(200, seed=1)
    assert images.shape == (200, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [20] * 10


@pytest.mark.parametrize("draw", [fashion_images, coloured_blobs, sentences])
def test_equal_seeds_give_equal_instances_and_others_do_not(draw):
    first, again, other = draw(30, seed=1), draw(30, seed=1), draw(30, seed=2)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    assert set(np.unique(first[1])) <= set(range(10))


def test_no_two_garments_of_one_set_are_equal():
    images, _ = fashion_images(200, seed=1)
    assert len({image.tobytes() for image in images}) == 200


@pytest.mark.parametrize("name", FASHION_LABELS)
def test_a_garment_is_bright_on_black_and_fills_the_frame(name):
    for seed in range(5):
        image = draw_garment(name, seed=seed)
        left, top, right, bottom = box(image)
        assert max(right - left, bottom - top) >= 25
        assert image[image > 0].mean() > 80
        assert image[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0


@pytest.mark.parametrize("name", ["Ankle boot", "Sneaker"])
def test_shoes_point_to_the_left(name):
    image = draw_garment(name)
    left, right = image[:14, :14], image[:14, 14:]
    assert right.sum() > 2 * left.sum()  # the shaft is on the right


@pytest.mark.parametrize("name", ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"])
def test_clothes_are_about_symmetric(name):
    cover = draw_garment(name, seed=3) > 0
    assert (cover == cover[:, ::-1]).mean() > 0.85


def test_a_photo_is_in_colour_small_and_on_a_light_ground():
    photo = draw_photo("Ankle boot")
    assert photo.shape == (300, 200, 3)
    assert photo.dtype == np.uint8
    assert photo[[0, 0, -1, -1], [0, -1, 0, -1]].min() > 200
    dark = photo.min(axis=2) < 150
    assert 0.05 < dark.mean() < 0.5
    assert (photo.max(axis=2) - photo.min(axis=2))[dark].mean() > 15


def test_an_unknown_garment_is_refused():
    with pytest.raises(ValueError, match="unknown garment 'Hat'; choose one of T-shirt/top, Trouser"):
        draw_garment("Hat")


def test_blobs_are_warm_or_cold_by_their_label():
    images, labels = coloured_blobs(100, seed=1)
    assert images.shape == (100, 32, 32, 3)
    assert images.dtype == np.uint8
    centre = images[:, 10:22, 10:22].astype(float).mean((1, 2))
    warmth = centre[:, 0] - centre[:, 2]
    assert warmth[labels == 0].mean() > 40 > -20 > warmth[labels == 1].mean()


def test_reviews_differ_in_length_and_side():
    texts, labels = sentences(300, seed=1)
    lengths = [len(split_tokens(text)) for text in texts]
    assert min(lengths) < 10
    assert max(lengths) > 150
    assert np.bincount(labels).tolist() == [150, 150]
    positive = " ".join(text for text, label in zip(texts, labels, strict=True) if label)
    assert "wonderful" in positive
    assert "terrible" not in positive
    assert "{" not in positive
