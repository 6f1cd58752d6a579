"""models.config of TensorFlow Serving, and its mistakes."""

import os

import pytest

from app.errors import VersionRefused
from app.repository.tf_serving.models_config import CONFIG_LIMIT_BYTES, read_models_config
from app.repository.tf_serving.named import NamedModels


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "models" / "a"
    path.mkdir(parents=True)
    return path


def listing(*models):
    return "model_config_list {" + "".join(f" config {{ {each} }}" for each in models) + " }"


def read(tmp_path, text):
    path = tmp_path / "models.config"
    path.write_text(text)
    return read_models_config(path)


def test_names_paths_policies_and_labels_are_read(tmp_path, base):
    text = f"""
    # as TensorFlow Serving has it
    model_config_list: {{
      config: {{
        name: "first", base_path: "{base}/", model_platform: "tensorflow",
        model_version_policy: {{ specific: {{ versions: 1, versions: 3 }} }}
        version_labels: {{ key: "stable" value: 1 }}
        version_labels: {{ key: "canary" value: 3 }}
      }}
      config: {{ name: "second", base_path: "{base}", model_version_policy: {{ all: {{}} }} }},
      config: {{ name: "third" base_path: "{base}" model_version_policy {{ latest {{ num_versions: 2 }} }} }}
    }}
    """
    found = read(tmp_path, text)
    assert {name: model.base_path for name, model in found.items()} == dict.fromkeys(("first", "second", "third"), base)
    assert found["first"].document == {
        "version_policy": {"specific": {"versions": [1, 3]}},
        "version_labels": {"stable": 1, "canary": 3},
    }
    assert found["second"].document == {"version_policy": {"all": True}}
    assert found["third"].document == {"version_policy": {"latest": {"num_versions": 2}}}


MISTAKES = {
    "an unknown platform": ('name: "a" base_path: "BASE" model_platform: "caffe"', "model_platform 'caffe' is not run"),
    "another type": ('name: "a" base_path: "BASE" model_type: OTHER', "model_type OTHER is not run here"),
    "a relative path": ('name: "a" base_path: "models/a"', "base_path 'models/a' is not an absolute path"),
    "a bucket": ('name: "a" base_path: "s3://bucket/a"', "base_path 's3://bucket/a' is not an absolute path"),
    "a type without a name": (
        'name: "a" base_path: "BASE" model_type: 77',
        "model_config_list.config.model_type is 77; one of MODEL_TYPE_UNSPECIFIED, TENSORFLOW, OTHER is expected",
    ),
    "a path with a NUL": (r'name: "a" base_path: "/a\000b"', "does not exist, or is not a directory"),
    "a path with a name that is too long": (
        'name: "a" base_path: "/LONG"'.replace("LONG", "a" * 5000),
        "does not exist, or is not a directory",
    ),
    "no path": ('name: "a"', "base_path '' is not an absolute path"),
    "a missing path": ('name: "a" base_path: "BASE/none"', "none' does not exist, or is not a directory"),
    "no name": ('base_path: "BASE"', "model '': a name has ASCII letters, digits"),
    "a name that is a path": ('name: "../a" base_path: "BASE"', "model '../a': a name has ASCII letters, digits"),
    "an unknown field": ('name: "a" path: "BASE"', 'has no field named "path"'),
    "a version out of range": (
        'name: "a" base_path: "BASE" model_version_policy { latest { num_versions: 1000000 } }',
        "version_policy.latest.num_versions is 1000000",
    ),
    "labels that contradict": (
        'name: "a" base_path: "BASE" '
        'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 1 }',
        "stable and canary both name version 1",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named_with_its_model(tmp_path, base, kind):
    text, expected = MISTAKES[kind]
    with pytest.raises(VersionRefused) as refused:
        read(tmp_path, listing(text.replace("BASE", str(base))))
    assert expected in refused.value.message
    assert "models.config: " in refused.value.message


def test_two_models_of_one_name(tmp_path, base):
    with pytest.raises(VersionRefused, match="two models have the name 'a'"):
        read(tmp_path, listing(*[f'name: "a" base_path: "{base}"'] * 2))


@pytest.mark.parametrize("text", ["", "model_config_list { }"])
def test_an_empty_list(tmp_path, text):
    with pytest.raises(VersionRefused, match="model_config_list has 0 models; 1 to 4096 are served"):
        read(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(VersionRefused, match="No such file or directory"):
        read_models_config(tmp_path / "none")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(VersionRefused, match="is a FIFO; it must be a regular file"):
        read_models_config(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b" " * (CONFIG_LIMIT_BYTES + 1))
    with pytest.raises(VersionRefused, match="has 1048577 bytes; at most 1048576 bytes are read"):
        read_models_config(tmp_path / "large")
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(VersionRefused, match="invalid start byte"):
        read_models_config(tmp_path / "bytes")


def test_when_a_file_breaks_its_last_valid_content_stays_in_effect(tmp_path, base, caplog):
    path = tmp_path / "models.config"
    path.write_text(listing(f'name: "a" base_path: "{base}"'))
    named = NamedModels(file=path, read=read_models_config)
    path.write_text("nonsense")
    assert set(named.current()) == set(named.current()) == {"a"}
    assert caplog.text.count("the last valid list of models stays in effect") == 1
    path.write_text(listing(f'name: "b" base_path: "{base}"'))
    assert set(named.current()) == {"b"}
