"""Services of models outside the models directory, and their configuration files."""

from tests.support.bare_models import bare
from tests.support.service import Service
from tests.support.tiny_models import write_rule_model


def write_store(tmp_path, *, versions):
    """Write versions of the rule model into a directory named "numbers", outside any models directory; return it."""
    written = write_rule_model(tmp_path / "source")
    for version in versions:
        bare(tmp_path / "store", written, name="numbers", version=version)
    return tmp_path / "store" / "numbers"


class NamedService(Service):
    """A service started without --models-dir."""

    def __init__(self, *arguments, **options):
        super().__init__(None, *arguments, **options)


def config(store, *, name="rule", more=""):
    return (
        f'model_config_list {{ config {{ name: "{name}" base_path: "{store}" model_platform: "tensorflow" {more} }} }}'
    )


LABELS = 'version_labels { key: "stable" value: 1 } version_labels { key: "candidate" value: 2 }'


def default(service, name="rule"):
    document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]}
    return service.client.post(f"/v2/models/{name}/infer", json=document).json()["model_version"]
