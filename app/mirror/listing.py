"""From the files at a URL to models and versions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.contract.manifest import MANIFEST_FILE
from app.mirror.pages import NO_NAMES
from app.mirror.remote import Listed
from app.repository.places import may_be_a_model
from app.repository.policy import POLICY_FILE
from app.repository.version_directories import version_of


@dataclass
class RemoteModel:
    """A model at the URL.

    Attributes:
        policy: its serving.json; None without one.
        versions: name of the directory -> path inside it -> file, of the versions with a manifest.
        without_manifest: names of directories of versions that have none.
    """

    policy: Listed | None = None
    versions: dict[str, dict[str, Listed]] = field(default_factory=dict)
    without_manifest: list[str] = field(default_factory=list)


def models_of(files: Mapping[str, Listed]) -> dict[str, RemoteModel]:
    """The models of a listing, by name; other files are left out.

    Args:
        files: path, with / between its parts -> file. A part that is empty or leads elsewhere makes no model; an object
            whose name ends with a slash, as consoles of buckets make them for a directory, has such a part.
    """
    models: dict[str, RemoteModel] = {}
    for path, listed in files.items():
        name, *below = path.split("/")
        if not below or not may_be_a_model(name) or not NO_NAMES.isdisjoint([name, *below]):
            continue
        model = models.setdefault(name, RemoteModel())
        if below == [POLICY_FILE]:
            model.policy = listed
        elif len(below) > 1 and version_of(below[0]) is not None and str(version_of(below[0])) == below[0]:
            model.versions.setdefault(below[0], {})["/".join(below[1:])] = listed
    for model in models.values():
        model.without_manifest = sorted(name for name, inside in model.versions.items() if MANIFEST_FILE not in inside)
        for name in model.without_manifest:
            del model.versions[name]
    return {name: model for name, model in models.items() if model.versions or model.without_manifest}
