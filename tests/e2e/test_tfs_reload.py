"""HandleReloadConfigRequest: which models a list loads and unloads, and which requests are refused."""

import pytest

from app.edge.grpc.tfs import serving_pb2 as pb
from tests.support.bare_models import bare
from tests.support.models_directory import publish
from tests.support.service import start_fixture
from tests.support.tfs import model_spec, refusal
from tests.support.tfs_service import TfsService
from tests.support.tiny_inputs import PIXELS
from tests.support.tiny_models import write_brightness_model, write_rule_model, write_words_model

KEY = "s3cret"
MODELS = ("brightness", "rule", "words")


@pytest.fixture
def models(tmp_path):
    directory = tmp_path / "models"
    write_brightness_model(directory)
    write_words_model(directory)
    write_rule_model(directory)
    return directory


start = start_fixture(TfsService)


def config(*names, **fields):
    """A list of models; ``fields`` belong to the first of them."""
    request = pb.ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    for index, name in enumerate(names):
        request.config.model_config_list.config.add(name=name, **(fields if index == 0 else {}))
    return request


def policy(**choice):
    return pb.FileSystemStoragePathSourceConfig.ServableVersionPolicy(**choice)


POLICY = pb.FileSystemStoragePathSourceConfig.ServableVersionPolicy


def states(service, model):
    status = service.tfs.GetModelStatus(pb.GetModelStatusRequest(model_spec=model_spec(model)))
    return [pb.ModelVersionStatus.State.Name(each.state) for each in status.model_version_status]


def test_a_model_that_is_not_listed_is_unloaded_and_loaded_once_it_is_listed(models, start):
    service = start(models)
    reload = service.tfs.HandleReloadConfigRequest
    assert reload(config(*MODELS)).status == pb.StatusProto(error_code=pb.OK)
    assert [states(service, name) for name in MODELS] == [["AVAILABLE"]] * 3
    reload(config("brightness", "rule", model_platform="tensorflow", base_path=str(models / "brightness")))
    assert [states(service, name) for name in MODELS] == [["AVAILABLE"], ["AVAILABLE"], ["END"]]
    reload(config(*MODELS))
    assert [states(service, name) for name in MODELS] == [["AVAILABLE"]] * 3


def test_the_base_path_of_a_model_that_models_config_names(tmp_path, start):
    """It is outside of any models directory."""
    bare(tmp_path / "store", write_rule_model(tmp_path / "source"), name="elsewhere")
    place = tmp_path / "store" / "elsewhere"
    named = tmp_path / "models.config"
    named.write_text(f'model_config_list {{ config {{ name: "elsewhere" base_path: "{place}" }} }}')
    service = start(None, "--model-config-file", str(named))
    service.tfs.HandleReloadConfigRequest(config("elsewhere", base_path=str(place)))
    assert states(service, "elsewhere") == ["AVAILABLE"]
    code, message = refusal(service.tfs.HandleReloadConfigRequest, config("elsewhere", base_path=str(tmp_path)))
    assert (code, str(place) in message) == ("UNIMPLEMENTED", True)


def test_a_policy_and_labels_that_agree_with_serving_json(models, start):
    publish(models, 2)
    (models / "brightness" / "serving.json").write_text(
        '{"version_policy": {"all": true}, "version_labels": {"stable": 1, "next": 2}}'
    )
    service = start(models)
    for choice in ({"all": POLICY.All()}, {"latest": POLICY.Latest(num_versions=2)}):
        request = config(*MODELS, model_version_policy=policy(**choice), version_labels={"stable": 1, "next": 2})
        assert service.tfs.HandleReloadConfigRequest(request).status.error_code == pb.OK
    request = config(*MODELS, model_version_policy=policy(specific=POLICY.Specific(versions=[2, 1])))
    assert service.tfs.HandleReloadConfigRequest(request).status.error_code == pb.OK


UNKNOWN = "Request for unknown model: 'nope' is not found; models: brightness, rule, words"
ONLY_LIST = (
    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
)


@pytest.mark.parametrize(
    ("request_", "code", "error"),
    [
        (pb.ReloadConfigRequest(), "INVALID_ARGUMENT", ONLY_LIST),
        (config(), "INVALID_ARGUMENT", "model_config_list has 0 models; list 1 to 1024"),
        (config(*["brightness"] * 1_025), "INVALID_ARGUMENT", "model_config_list has 1025 models; list 1 to 1024"),
        (config("brightness", "nope"), "NOT_FOUND", UNKNOWN),
        (config(""), "NOT_FOUND", UNKNOWN.replace("nope", "")),
        (config("rule", "rule"), "INVALID_ARGUMENT", "model_config_list lists model 'rule' twice"),
        (
            config("rule", model_platform="caffe"),
            "INVALID_ARGUMENT",
            "model_platform 'caffe' of model 'rule'; use 'tensorflow'",
        ),
        (
            config("rule", base_path="/elsewhere/rule"),
            "UNIMPLEMENTED",
            "base_path '/elsewhere/rule' of model 'rule' is not supported: its versions are in '{models}/rule'",
        ),
        (
            config("rule", base_path="/nul\0"),
            "UNIMPLEMENTED",
            "base_path '/nul\\x00' of model 'rule' is not supported: its versions are in '{models}/rule'",
        ),
        (
            config("rule", version_labels={"stable": 1}),
            "UNIMPLEMENTED",
            "version_labels {{'stable': 1}} of model 'rule' differ from those that it has, {{}}; change them in its "
            "serving.json",
        ),
        (
            config("rule", model_version_policy=policy(specific=POLICY.Specific(versions=[1, 2]))),
            "UNIMPLEMENTED",
            "model_version_policy 'specific' of model 'rule' asks for versions 1, 2; its serving.json selects 1; "
            "change it there",
        ),
    ],
)
def test_a_refused_change_has_no_effect(models, start, request_, code, error):
    service = start(models)
    assert refusal(service.tfs.HandleReloadConfigRequest, request_) == (code, error.format(models=models))
    assert [states(service, name) for name in MODELS] == [["AVAILABLE"]] * 3


def test_a_version_that_cannot_be_loaded_unloads_nothing(models, start):
    service = start(models)
    (models / "rule" / "serving.json").write_text("{")
    code, found = refusal(service.tfs.HandleReloadConfigRequest, config("rule"))
    assert (code, found.endswith("; version 1 continues to serve")) == ("FAILED_PRECONDITION", True)
    assert [states(service, name) for name in MODELS] == [["AVAILABLE"]] * 3


def test_only_an_administrator_may_reload(models, start):
    service = start(models, environment={"ATELIER_ADMIN_KEY": KEY})
    reload = service.tfs.HandleReloadConfigRequest
    assert refusal(reload, config("rule")) == (
        "PERMISSION_DENIED",
        "HandleReloadConfigRequest requires the admin key; send the metadata authorization: Bearer KEY",
    )
    assert states(service, "words") == ["AVAILABLE"]
    reload(config("rule"), metadata=(("authorization", f"Bearer {KEY}"),))
    assert states(service, "words") == ["END"]
    assert KEY not in service.log
    assert refusal(service.tfs.predict, {"pixels": PIXELS})[0] == "UNAVAILABLE"
