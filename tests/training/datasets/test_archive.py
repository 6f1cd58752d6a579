import hashlib

import pytest

from training.datasets.archive import Archive, checksums, data_directory, find, obtain
from training.errors import DataDamaged, DataMissing

CONTENT = b"forty-two bytes of a data set that is made up"


@pytest.fixture
def archive(tmp_path):
    """An archive whose address is a file, so that downloading it needs no network."""
    origin = tmp_path / "origin" / "set.bin"
    origin.parent.mkdir()
    origin.write_bytes(CONTENT)
    return Archive(name="set.bin", url=origin.as_uri(), md5=hashlib.md5(CONTENT).hexdigest())


def test_data_is_in_the_users_cache_unless_the_variable_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ATELIER_DATA_DIR", raising=False)
    assert data_directory() == tmp_path / ".cache" / "atelier"
    monkeypatch.setenv("ATELIER_DATA_DIR", "/elsewhere")
    assert str(data_directory()) == "/elsewhere"


def test_a_file_is_found_in_the_folder_and_in_the_data_set_s_subfolder(data_directory):
    assert find("a.gz", folder="films") is None
    (data_directory / "a.gz").touch()
    assert find("a.gz", folder="films") == data_directory / "a.gz"
    (data_directory / "films").mkdir()
    (data_directory / "films" / "a.gz").touch()
    assert find("a.gz", folder="films") == data_directory / "films" / "a.gz"


def test_a_missing_file_is_downloaded_once_under_its_final_name_alone(data_directory, archive, tmp_path):
    path = obtain(archive, folder="sets")
    assert path == data_directory / "sets" / "set.bin"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["set.bin"]
    (tmp_path / "origin" / "set.bin").unlink()
    assert obtain(archive, folder="sets") == path


def test_a_file_that_can_not_be_had_names_itself_its_address_and_the_variable(data_directory, tmp_path):
    archive = Archive(name="gone.gz", url=(tmp_path / "gone.gz").as_uri(), md5="0" * 32)
    with pytest.raises(DataMissing) as caught:
        obtain(archive, folder="sets")
    for part in ("gone.gz", archive.url, "ATELIER_DATA_DIR", str(data_directory)):
        assert part in str(caught.value)
    assert list((data_directory / "sets").iterdir()) == []


def test_a_data_directory_that_can_not_be_written_is_an_error_of_one_sentence(tmp_path, monkeypatch, archive):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(DataMissing, match=r"set\.bin is not in"):
        obtain(archive, folder="sets")


def test_a_file_with_another_checksum_is_refused(data_directory, archive):
    (data_directory / "set.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(DataDamaged, match=f"its makers published {archive.md5}"):
        obtain(archive, folder="sets")


def test_checksums_are_recorded_by_file_name(data_directory):
    (data_directory / "a").write_bytes(CONTENT)
    assert checksums(data_directory / "a") == {"a": hashlib.sha256(CONTENT).hexdigest()}
