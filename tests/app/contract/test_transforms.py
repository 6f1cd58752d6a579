"""Encoded images to instances."""

import numpy as np
import pytest
from PIL import Image

from app.contract.images.image_file import open_image
from app.contract.steps import ImagePreprocessing, TransformStep
from app.contract.tensor_spec import TensorSpec
from app.contract.transforms import check_steps, image_to_instance
from app.errors import InvalidInput, VersionRefused
from tests.support.images import encode, png

GREY = TensorSpec(name="pixels", dtype="uint8", shape=(28, 28))
COLOUR = TensorSpec(name="pixels", dtype="uint8", shape=(32, 32, 3))


def steps(*names, **arguments):
    return ImagePreprocessing(
        input="pixels", steps=tuple(TransformStep(step=name, arguments=arguments.get(name, {})) for name in names)
    )


MAKERS = steps("trim", "fit", "sharpen", "extend", "negate_if_light", "grey", fit={"size": 28}, extend={"size": 28})
SQUARE = steps("crop_square", "resize", resize={"width": 32, "height": 32})


def fashion(data, **options):
    return image_to_instance(data, preprocessing=MAKERS, target=GREY, **options)


def test_an_image_of_the_right_size_and_channels_passes_through_unchanged():
    grey = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(fashion(png(grey)), grey)
    colour = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(image_to_instance(png(colour), preprocessing=SQUARE, target=COLOUR), colour)


@pytest.mark.parametrize(("ground", "subject"), [(255, 40), (0, 215)])
def test_a_subject_ends_up_bright_on_black_centred_and_as_large_as_the_frame(ground, subject):
    photo = np.full((200, 300, 3), ground, np.uint8)
    photo[50:150, 80:130] = subject  # 100 high, 50 wide
    pixels = fashion(png(photo))
    assert pixels.shape == (28, 28)
    assert (pixels[:, :6] < 20).all()
    assert (pixels[:, 22:] < 20).all()
    assert (pixels[2:26, 9:19] > 150).all()


def test_a_blank_photograph_does_not_fail():
    assert (fashion(png(np.full((50, 70, 3), 255, np.uint8))) == 0).all()


def test_exif_orientation_is_applied():
    photo = Image.fromarray(np.zeros((10, 20, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    assert open_image(encode(photo, "JPEG", exif=exif)).decode().size == (10, 20)


def test_transparency_is_laid_over_white():
    layer = np.zeros((4, 4, 4), np.uint8)
    assert np.asarray(open_image(png(layer)).decode()).tolist() == [[[255] * 3] * 4] * 4
    assert open_image(encode(Image.new("LA", (4, 4)), "PNG")).decode().mode == "L"


def test_sixteen_bits_are_scaled_to_eight():
    deep = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert np.asarray(open_image(png(deep)).decode()).tolist() == [[0, 1, 128, 255]]


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(open_image(data).decode().convert("L")).max() == 10


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_every_mode_becomes_grey_or_rgb(mode):
    data = encode(Image.new(mode, (4, 4)), "JPEG" if mode in {"CMYK", "YCbCr"} else "PNG")
    assert open_image(data).decode().mode in {"L", "RGB"}


def test_the_pixel_limit_applies_before_decoding():
    with pytest.raises(InvalidInput, match="image has 30x20 pixels; at most 500 pixels are accepted"):
        fashion(png(np.zeros((20, 30), np.uint8)), pixel_limit=500)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_no_truncation_anywhere_escapes_as_another_error(form):
    whole = encode(Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)), form)
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        try:
            pixels = fashion(whole[:length])
        except InvalidInput:
            continue
        assert pixels.shape == (28, 28)  # some formats have no bytes after the pixels


def test_no_flipped_byte_escapes_as_another_error():
    whole = png(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        try:
            fashion(bytes(damaged))
        except InvalidInput:
            continue


def test_steps_are_checked_against_the_input():
    check_steps(MAKERS, GREY)
    check_steps(SQUARE, COLOUR)
    with pytest.raises(VersionRefused, match="unknown image step 'blur'"):
        check_steps(steps("blur"), GREY)
    with pytest.raises(VersionRefused, match="end in 32x32 pixels, but 'pixels' requires 28x28"):
        check_steps(SQUARE, GREY)
    with pytest.raises(VersionRefused, match="size"):
        check_steps(steps("fit"), GREY)
