import numpy as np
import pytest

from training.lessons.convolution_by_hand import FILTERS, RECIPE, Convolution, convolve, draw_picture, pool
from training.recipe.lesson import LessonContext


def test_a_picture_becomes_twelve_maps_and_then_halves_as_in_keras(tmp_path, console):
    found = RECIPE.study(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert [values[name] for name in ("picture", "convolved", "pooled")] == [
        "(32, 32, 3)",
        "(32, 32, 12)",
        "(16, 16, 12)",
    ]
    assert len(FILTERS) == 12
    assert (draw_picture(0) != draw_picture(1)).any()
    assert RECIPE.study == Convolution(seed=0)
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    ("padding", "stride", "shape"), [(0, 1, (3, 4, 2)), (1, 1, (5, 6, 2)), (1, 2, (3, 3, 2)), (0, 3, (1, 2, 2))]
)
def test_one_number_of_the_result_is_the_sum_over_its_window(padding, stride, shape):
    rng = np.random.default_rng(0)
    picture, kernel, bias = rng.normal(size=(5, 6, 3)), rng.normal(size=(3, 3, 3, 2)), rng.normal(size=2)
    result = convolve(picture, kernel, bias, padding=padding, stride=stride)
    assert result.shape == shape
    y, x = shape[0] - 1, shape[1] - 1
    padded = np.pad(picture, ((padding, padding), (padding, padding), (0, 0)))
    window = padded[y * stride : y * stride + 3, x * stride : x * stride + 3]
    by_hand = bias[1] + sum(
        window[dy, dx, channel] * kernel[dy, dx, channel, 1] for dy, dx, channel in np.ndindex(3, 3, 3)
    )
    assert result[y, x, 1] == pytest.approx(by_hand, abs=1e-12)


def test_pooling_takes_the_largest_or_the_mean_of_four():
    maps = np.array([[1.0, 5, -1, -2], [2, 3, -4, -3]])[:, :, None]
    assert pool(maps)[:, :, 0].tolist() == [[5, -1]]
    assert pool(maps, mean=True)[:, :, 0].tolist() == [[2.75, -2.5]]
