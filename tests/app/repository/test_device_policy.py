"""The device in serving.json."""

import pytest

from app.errors import VersionRefused
from app.repository.policy_file import read_policy


def read(tmp_path, text):
    (tmp_path / "serving.json").write_text(text)
    return read_policy(tmp_path)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_a_device_by_its_name(tmp_path, device):
    policy = read(tmp_path, f'{{"device": "{device}", "gpu_mem_limit_mb": 512}}')
    assert (policy.device, policy.gpu_mem_limit_mb) == (device, 512)


def test_without_a_setting_the_process_decides(tmp_path):
    assert read(tmp_path, "{}").device is None


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:01", "CPU", "", "cuda:١"])
def test_any_other_name_is_refused_with_those_that_there_are(tmp_path, device):
    with pytest.raises(VersionRefused) as refusal:
        read(tmp_path, f'{{"device": "{device}"}}')
    assert refusal.value.message == (
        f"{tmp_path}/serving.json: device is {device!r}; it must be 'auto', 'cpu', 'cuda' or 'cuda:N' with the number "
        "of a GPU, as in 'cuda:0'"
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"gpu_mem_limit_mb": 0}', "gpu_mem_limit_mb is 0: Input should be greater than or equal to 1"),
        ('{"instances": 0}', "instances is 0: Input should be greater than or equal to 1"),
        ('{"instances": 65}', "instances is 65: Input should be less than or equal to 64"),
        ('{"instances": 2.0}', "instances is 2.0: Input should be a valid integer"),
        ('{"device": 0}', "device is 0: Input should be a valid string"),
    ],
)
def test_values_of_another_kind_are_refused(tmp_path, text, error):
    with pytest.raises(VersionRefused, match=error):
        read(tmp_path, text)
