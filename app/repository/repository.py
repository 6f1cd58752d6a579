"""The models directory as one object: published versions, and the settings of each model."""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.errors import SettingsUnwritable
from app.repository import canary_file, last_valid_file, scan, serving_file
from app.repository.copies import refuse_in_copy
from app.repository.layouts import Layout, layout_of
from app.repository.missing import no_model
from app.repository.places import Place, Places
from app.repository.policy import ServingPolicy
from app.repository.policy_file import read_policy
from app.repository.rollout_policy import CanaryPair, RolloutPolicy
from app.repository.serving_file import Promotion
from app.repository.tf_serving.named import NamedModels
from app.repository.verified_samples import VerifiedSamples


class Repository:
    """Models, versions and settings on the disk. Every method reads the disk again, and blocks.

    Args:
        models_dir, named: contain the models; see ``Places``.
        samples: of versions of other tools; None without samples.
    """

    def __init__(
        self, models_dir: Path | None, named: NamedModels | None = None, samples: VerifiedSamples | None = None
    ) -> None:
        self.places = Places(models_dir, named)
        self._samples = samples or VerifiedSamples(None)

    def scan(self) -> dict[str, list[int]]:
        """See ``scan.scan``."""
        return scan.scan(self.places)

    def without_versions(self) -> list[str]:
        """See ``scan.without_versions``."""
        return scan.without_versions(self.places)

    def versions(self, name: str) -> list[int]:
        """Versions of a model, newest first.

        Raises:
            ModelNotFound: the model does not exist.
            OSError: the models directory cannot be read.
        """
        found = self.scan()
        if name not in found:
            raise no_model(name, found)
        return found[name]

    def snapshot(self) -> dict[str, Hashable]:
        """See ``scan.snapshot``."""
        return scan.snapshot(self.places)

    def fingerprint(self, name: str, version: int) -> Hashable:
        """See ``scan.fingerprint``; of a version of another tool, with its samples in the state directory."""
        place = self.places.of(name)
        if place.file is not None:
            return scan.file_fingerprint(place.file), self._samples.fingerprint(name)
        directory = place.version_directory(version)
        found = scan.fingerprint(directory)
        return (found, self._samples.fingerprint(name)) if layout_of(directory) is Layout.FOREIGN else found

    def policy(self, name: str) -> ServingPolicy:
        """serving.json of a model; VersionRefused if it is broken. Another file NAME.onnx is another setting."""
        place = self.places.of(name)
        if place.file is not None:
            policy = ServingPolicy.of_file(repr(scan.file_fingerprint(place.file)))
        else:
            policy = read_policy(place.directory, place.stated)
        return policy.with_origin(self._origin(place))

    def policy_in_effect(self, name: str) -> ServingPolicy:
        """See ``last_valid_file.policy_in_effect``."""
        place = self.places.of(name)
        policy = last_valid_file.policy_in_effect(place.directory, place.stated)
        return policy.with_origin(self._origin(place))

    def last_valid(self, name: str) -> ServingPolicy | None:
        """See ``last_valid_file.last_valid``."""
        place = self.places.of(name)
        policy = last_valid_file.last_valid(place.directory)
        return None if policy is None else policy.with_origin(self._origin(place))

    def _origin(self, place: Place) -> Hashable:
        """See ``ServingPolicy.with_origin``."""
        return () if scan.layout(place) is Layout.ATELIER else (Layout.FOREIGN, self._samples.fingerprint(place.name))

    def remember(self, name: str, policy: ServingPolicy) -> None:
        """See ``last_valid_file.remember``."""
        last_valid_file.remember(self.places.of(name).directory, policy)

    def promote(self, name: str, version: int, *, default: int | None, versions: list[int]) -> Promotion:
        """See ``serving_file.promote``; SettingsUnwritable if the file cannot be written."""
        with self._writing(name) as place:
            return serving_file.promote(place, version, default=default, versions=versions)

    def rollback(self, name: str, *, default: int | None, versions: list[int]) -> Promotion:
        """See ``serving_file.rollback``; SettingsUnwritable if the file cannot be written."""
        with self._writing(name) as place:
            return serving_file.rollback(place, default=default, versions=versions)

    def rollback_target(self, name: str, *, default: int | None, versions: list[int]) -> int:
        """See ``serving_file.rollback_target``."""
        return serving_file.rollback_target(self.places.of(name), default=default, versions=versions)

    def start_canary(
        self, name: str, version: int, rollout: Mapping[str, Mapping[str, Any]], *, versions: list[int]
    ) -> int:
        """See ``canary_file.start``; SettingsUnwritable if the file cannot be written."""
        with self._writing(name) as place:
            return canary_file.start(place, version, rollout, versions=versions)

    def stop_canary(self, name: str) -> tuple[int, int | None]:
        """See ``canary_file.stop``; SettingsUnwritable if the file cannot be written."""
        versions = self.versions(name)
        with self._writing(name) as place:
            return canary_file.stop(place, versions)

    def halt(self, pair: CanaryPair, reason: str, *, judged: RolloutPolicy) -> bool:
        """See ``canary_file.halt``; SettingsUnwritable if the file cannot be written.

        In a copy of models at a URL it is written too: this machine halts the canary, until the file there changes.
        """
        with _writable(pair.name):
            return canary_file.halt(self.places.of(pair.name), pair, reason, judged=judged)

    @contextmanager
    def _writing(self, name: str) -> Iterator[Place]:
        """The place of a model whose serving.json is to be changed; Forbidden if it is a copy."""
        place = self.places.of(name)
        refuse_in_copy(place.directory)
        with _writable(name):
            yield place


@contextmanager
def _writable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"serving.json of model {name!r} cannot be written and is as it was: {error.strerror}"
        raise SettingsUnwritable(message) from error
