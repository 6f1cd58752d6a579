"""Files become pixels by the steps of the service; what cannot become pixels is refused before any training."""

import numpy as np
import pytest
from PIL import Image

from app.contract.steps import TransformStep
from tests.support.own_data import write_pictures
from training.data.pipelines import ImagePipeline
from training.data.reading import read_data
from training.data.settings import Span
from training.errors import DataUnusable, SettingRefused
from training.sources.image_folder import ImageFolder

SIZE = 16


def step(name, **arguments):
    return TransformStep(step=name, arguments=arguments)


STEPS = (step("crop_square"), step("resize", width=SIZE, height=SIZE))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    write_pictures(folder, count=30)
    return folder


def read(folder, steps=STEPS, **settings):
    return read_data(ImageFolder(folder=str(folder)), ImagePipeline(steps=steps, **settings), synthetic=False)


def test_pictures_of_mixed_sizes_become_arrays_of_one_size(photos):
    splits = read(photos)
    assert splits.train.instances.shape == (18, SIZE, SIZE, 3)
    assert splits.train.instances.dtype == np.uint8
    assert splits.read_test().instances.shape == (6, SIZE, SIZE, 3)


def test_the_step_grey_gives_a_grey_network(photos):
    splits = read(photos, (*STEPS, step("grey")))
    feed = ImagePipeline(steps=STEPS).bind(splits.train, classes=3)
    assert feed.input.shape == (SIZE, SIZE)


def test_without_memory_for_all_they_are_decoded_batch_by_batch_to_the_same_pixels(photos):
    """Equal bits, epoch by epoch; and a subset, as for the baseline, is read in its order."""
    pipeline = ImagePipeline(steps=STEPS)
    held, streamed = read(photos), read(photos, memory_limit_mb=0)
    assert isinstance(held.train.instances, np.ndarray)
    assert not isinstance(streamed.train.instances, np.ndarray)
    span = Span(epochs=2, batch_size=8, seed=3)
    batches = [
        [(x.numpy(), y.numpy()) for x, y in pipeline.bind(splits.train, classes=3).training(splits.train, span)]
        for splits in (held, streamed)
    ]
    assert len(batches[0]) == 4
    for (pixels, targets), (others, other_targets) in zip(*batches, strict=True):
        np.testing.assert_array_equal(pixels, others)
        np.testing.assert_array_equal(targets, other_targets)
    rows = np.array([4, 0, 2])
    np.testing.assert_array_equal(np.asarray(streamed.train.take(rows).instances), held.train.instances[rows])
    feeds = [pipeline.bind(splits.train, classes=3) for splits in (held, streamed)]
    statistics = [feed.statistics(splits.train) for feed, splits in zip(feeds, (held, streamed), strict=True)]
    assert statistics[0] == statistics[1]


def refused(photos, sentence, error=SettingRefused, **settings):
    with pytest.raises(error, match=sentence):
        read(photos, **settings)


def test_a_misspelt_step_is_refused_with_the_nearest(photos):
    steps = (step("resise", width=8, height=8),)
    refused(
        photos, "^unknown image step 'resise'; did you mean 'resize'\\? there are: crop_square, extend,", steps=steps
    )


def test_a_misspelt_argument_of_a_step_is_refused(photos):
    steps = (step("resize", widht=8, height=8),)
    refused(photos, r"^image steps: resize\(\) got an unexpected keyword argument 'widht'", steps=steps)


def test_steps_that_end_in_several_sizes_are_refused(photos):
    sentence = (
        "^image steps turn pictures of 640x427 and 120x311 pixels into 32x21 and 12x32; .* end with the step resize"
    )
    refused(photos, sentence, steps=(step("fit", size=32),))


def test_a_truncated_picture_is_refused_with_its_name(photos):
    path = photos / "circle/0003.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    refused(
        photos,
        r"^\S+circle/0003\.jpg: image is truncated or damaged: .*; remove it, or name it in leave_out$",
        DataUnusable,
    )


def test_several_files_that_are_no_pictures_are_counted(photos):
    for name in ("square/0001.jpg", "square/0004.jpg"):
        (photos / name).write_text("not a picture")
    sentence = r"^2 of 30 pictures cannot be used; the first is \S+square/000[14]\.jpg: 13 bytes are not a PNG, JPEG"
    refused(photos, sentence, DataUnusable)


def test_a_picture_that_the_service_refuses_for_its_size_is_refused_here_too(photos):
    Image.new("L", (6000, 5000)).save(photos / "circle/huge.png")
    refused(photos, r"huge\.png: image has 6000x5000 pixels; at most 25000000 pixels are accepted", DataUnusable)


def test_a_source_of_own_data_draws_none(photos):
    source, pipeline = ImageFolder(folder=str(photos)), ImagePipeline(steps=STEPS)
    with pytest.raises(SettingRefused, match="reads data of your own and draws none; leave out --dataset synthetic"):
        read_data(source, pipeline, synthetic=True)
