"""From settings to the repository of models."""

from app.repository.repository import Repository
from app.repository.tf_serving.named import NamedModels, named_model
from app.repository.verified_samples import VerifiedSamples
from app.settings import Settings


def repository_of(settings: Settings) -> Repository:
    """The models to serve.

    Raises:
        VersionRefused: models.config cannot be followed, or the base path is not a directory.
    """
    named = None
    if settings.model_config_file is not None:
        from app.repository.tf_serving.models_config import read_models_config

        named = NamedModels(file=settings.model_config_file.absolute(), read=read_models_config)
    elif settings.model_name is not None:
        name, path = settings.model_name, str(settings.model_base_path)
        named = NamedModels({name: named_model(f"model {name!r}", name, path)})
    return Repository(settings.only_models_dir, named, VerifiedSamples(settings.state_dir))
