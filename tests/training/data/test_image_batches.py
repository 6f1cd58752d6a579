import numpy as np
import pytest

from app.contract.steps import TransformStep
from training.data.pipelines import ImagePipeline
from training.data.settings import ImageAugmentation, Span
from training.datasets.splits import Examples

STEPS = (TransformStep(step="grey"),)


def make_examples(count: int, shape: tuple[int, ...] = (6, 6), seed: int = 0) -> Examples:
    generator = np.random.default_rng(seed)
    images = generator.integers(1, 255, (count, *shape)).astype(np.uint8)
    return Examples(instances=images, labels=generator.integers(0, 3, count).astype(np.int32))


def batches(examples: Examples, augmentation: ImageAugmentation = ImageAugmentation(), **span):  # noqa: B008
    feed = ImagePipeline(steps=STEPS, augmentation=augmentation).bind(examples, classes=3)
    wanted = {"epochs": 1, "batch_size": 8, "seed": 5} | span
    return [(images.numpy(), targets.numpy()) for images, targets in feed.training(examples, Span(**wanted))]


def test_every_row_occurs_once_an_epoch_with_its_label_in_another_order_each_epoch():
    examples = make_examples(32)
    found = batches(examples, epochs=2)
    assert len(found) == 8
    truth = {image.tobytes(): label for image, label in zip(examples.instances, examples.labels, strict=True)}
    for epoch in (found[:4], found[4:]):
        images = np.concatenate([images for images, _ in epoch])
        targets = np.concatenate([targets for _, targets in epoch])
        assert {image.tobytes() for image in images} == truth.keys()
        assert [truth[image.tobytes()] for image in images] == targets.argmax(axis=1).tolist()
    assert found[0][0].tobytes() != found[4][0].tobytes()


def test_a_resumed_run_gets_the_batches_it_would_have_got():
    examples = make_examples(24, (6, 6, 3))
    augmentation = ImageAugmentation(
        shift=2, flip=True, warp=0.5, contrast=0.2, colour=9, saturation=0.3, cutout=3, mixup=0.3, cutmix=0.3
    )
    whole = batches(examples, augmentation, epochs=3)
    resumed = batches(examples, augmentation, epochs=3, first_epoch=2)
    for (images, targets), (others, other_targets) in zip(whole[6:], resumed, strict=True):
        assert images.tobytes() == others.tobytes()
        assert targets.tobytes() == other_targets.tobytes()


def test_rows_that_do_not_fill_a_batch_are_left_out():
    assert [len(images) for images, _ in batches(make_examples(30))] == [8, 8, 8]


def test_a_flip_mirrors_about_half_of_the_images():
    examples = make_examples(64)
    originals = {image.tobytes() for image in examples.instances}
    mirrored = {image[:, ::-1].tobytes() for image in examples.instances}
    images = np.concatenate([images for images, _ in batches(examples, ImageAugmentation(flip=True))])
    as_they_were = sum(image.tobytes() in originals for image in images)
    assert as_they_were + sum(image.tobytes() in mirrored for image in images) == 64
    assert 16 < as_they_were < 48


def test_a_shift_moves_the_image_over_a_black_border():
    examples = Examples(instances=np.full((40, 6, 6), 200, np.uint8), labels=np.zeros(40, np.int32))
    images = np.concatenate([images for images, _ in batches(examples, ImageAugmentation(shift=2))])
    sizes = {(int((image.max(axis=1) > 0).sum()), int((image.max(axis=0) > 0).sum())) for image in images}
    assert {size for pair in sizes for size in pair} == {4, 5, 6}
    assert set(np.unique(images)) == {0, 200}


def test_cutout_paints_a_square_on_the_stated_share():
    examples = Examples(instances=np.full((400, 9, 9), 50, np.uint8), labels=np.zeros(400, np.int32))
    settings = ImageAugmentation(cutout=3, cutout_share=0.5, cutout_fill=7)
    images = np.concatenate([images for images, _ in batches(examples, settings)])
    painted = (images == 7).sum(axis=(1, 2))
    assert painted.max() == 9
    assert 0.4 < (painted > 0).mean() < 0.6


def test_mixup_blends_images_and_labels_by_the_same_factor():
    labels = np.arange(64, dtype=np.int32) % 2
    examples = Examples(instances=(labels[:, None, None] * np.full((1, 4, 4), 200)).astype(np.uint8), labels=labels)
    found = batches(examples, ImageAugmentation(mixup=1.0), batch_size=64)
    (images, targets), *_ = found
    assert targets.sum(axis=1) == pytest.approx(1.0)
    assert images[:, 0, 0] == pytest.approx(targets[:, 1] * 200, abs=0.6)  # rounded to whole intensities
    assert len(np.unique(images)) > 4


def test_cutmix_swaps_a_rectangle_and_the_labels_by_its_area():
    labels = np.arange(64, dtype=np.int32) % 2
    examples = Examples(instances=(labels[:, None, None] * np.full((1, 8, 8), 200)).astype(np.uint8), labels=labels)
    ((images, targets),) = batches(examples, ImageAugmentation(cutmix=1.0), batch_size=64)
    assert set(np.unique(images)) == {0, 200}
    assert targets.sum(axis=1) == pytest.approx(1.0)
    assert (images == 200).mean(axis=(1, 2)) == pytest.approx(targets[:, 1], abs=1e-6)
    assert ((targets > 0.05) & (targets < 0.95)).any()


def test_images_without_a_warp_stay_sharp_and_are_shifted_by_whole_pixels():
    examples = make_examples(200, (8, 8, 3))
    originals = {image[2:-2, 2:-2].tobytes() for image in examples.instances}
    images = np.concatenate([images for images, _ in batches(examples, ImageAugmentation(warp=0.5, rotation=30))])
    assert images.shape == (200, 8, 8, 3)
    sharp = np.mean([image[2:-2, 2:-2].tobytes() in originals for image in images])
    assert 0.38 < sharp < 0.62


def test_a_warp_of_no_strength_still_shifts_and_mirrors_alone():
    examples = make_examples(64, (8, 8, 3))
    still = ImageAugmentation(warp=1.0, rotation=0, zoom=0, aspect=0, shear=0, flip=True)
    images = np.concatenate([images for images, _ in batches(examples, still)])
    known = {each.tobytes() for image in examples.instances for each in (image, image[:, ::-1])}
    assert all(image.tobytes() in known for image in images)


def test_desaturated_images_are_grey_and_keep_their_brightness():
    examples = make_examples(32, (6, 6, 3))
    images = np.concatenate([images for images, _ in batches(examples, ImageAugmentation(greyscale=1.0))])
    assert (images == images[..., :1]).all()
    expected = sorted(examples.instances.mean(axis=(1, 2, 3)))
    assert sorted(images.mean(axis=(1, 2, 3))) == pytest.approx(expected, abs=0.5)  # rounded to whole intensities


def test_recolouring_stays_within_a_byte_and_changes_channels_apart():
    examples = make_examples(32, (6, 6, 3))
    settings = ImageAugmentation(contrast=0.9, brightness=100, colour=100)
    images = np.concatenate([images for images, _ in batches(examples, settings)])
    assert images.dtype == np.uint8
    assert images.min() == 0
    assert images.max() == 255


def test_evaluation_keeps_the_order_and_does_not_augment():
    examples = make_examples(21)
    feed = ImagePipeline(steps=STEPS, augmentation=ImageAugmentation(flip=True)).bind(examples, classes=3)
    dataset, order = feed.evaluation(examples, batch_size=8)
    assert np.concatenate([images for images, _ in dataset]).tobytes() == examples.instances.tobytes()
    assert order.tolist() == list(range(21))


def test_statistics_describe_the_pixels():
    examples = make_examples(50, (6, 6, 3))
    statistics = ImagePipeline(steps=STEPS).bind(examples, classes=3).statistics(examples)
    assert statistics["mean"] == pytest.approx(examples.instances.mean())
    assert sum(statistics["histogram"]["shares"]) == pytest.approx(1.0)
    assert len(statistics["histogram"]["edges"]) == len(statistics["histogram"]["shares"]) + 1


def test_cutmix_puts_a_rectangle_of_another_image_in_and_shares_the_label_by_area():
    labels = np.arange(64, dtype=np.int32) % 2
    examples = Examples(instances=(labels[:, None, None] * np.full((1, 8, 8), 200)).astype(np.uint8), labels=labels)
    [(images, targets)] = batches(examples, ImageAugmentation(cutmix=1.0), batch_size=64)
    assert set(np.unique(images)) == {0, 200}
    np.testing.assert_allclose((images == 200).mean(axis=(1, 2)), targets[:, 1], atol=1e-6)
    assert ((targets[:, 1] > 0) & (targets[:, 1] < 1)).any()


def test_mixup_and_cutmix_together_touch_at_most_every_image():
    with pytest.raises(ValueError, match="their sum must be at most 1"):
        ImageAugmentation(mixup=0.6, cutmix=0.5)


def test_a_neutral_warp_has_no_effect_and_only_its_share_is_warped():
    examples = make_examples(400, (8, 8, 3))
    originals = {image.tobytes() for image in examples.instances}
    still = ImageAugmentation(warp=1.0, rotation=0.0, zoom=0.0, aspect=0.0, shear=0.0)
    assert {image.tobytes() for images, _ in batches(examples, still) for image in images} == originals
    half = np.concatenate([images for images, _ in batches(examples, ImageAugmentation(warp=0.5))])
    assert 0.4 < np.mean([image.tobytes() in originals for image in half]) < 0.6


def test_a_warped_image_stays_where_it_was_on_average():
    image = np.zeros((1, 31, 31), np.uint8)
    image[:, 12:19, 12:19] = 200
    examples = Examples(instances=np.repeat(image, 400, axis=0), labels=np.zeros(400, np.int32))
    settings = ImageAugmentation(warp=1.0, rotation=20.0, zoom=0.2, flip=True)
    images = np.concatenate([images for images, _ in batches(examples, settings)]).astype(float)
    rows, columns = np.indices((31, 31))
    for places in (rows, columns):
        centres = (images * places).sum(axis=(1, 2)) / images.sum(axis=(1, 2))
        np.testing.assert_allclose(centres, 15, atol=0.2)
    areas = (images > 100).sum(axis=(1, 2))
    assert areas.min() < 40
    assert areas.max() > 60


def test_greyscale_drains_the_stated_share_of_the_images_and_keeps_their_mean():
    examples = make_examples(400, (6, 6, 3))
    images = np.concatenate([images for images, _ in batches(examples, ImageAugmentation(greyscale=0.25))])
    drained = np.ptp(images, axis=3).max(axis=(1, 2)) == 0
    assert 0.18 < drained.mean() < 0.32
    means = sorted(image.astype(float).mean() for image in examples.instances)
    np.testing.assert_allclose(sorted(image.astype(float).mean() for image in images), means, atol=0.5)


def test_turning_and_mirroring_keep_areas():
    image = np.zeros((1, 31, 31), np.uint8)
    image[:, 9:22, 9:22] = 200
    examples = Examples(instances=np.repeat(image, 200, axis=0), labels=np.zeros(200, np.int32))
    settings = ImageAugmentation(warp=1.0, rotation=25.0, zoom=0.0, aspect=0.0, shear=0.0, flip=True)
    images = np.concatenate([images for images, _ in batches(examples, settings)]).astype(float)
    np.testing.assert_allclose(images.sum(axis=(1, 2)), image.sum(), rtol=0.02)
