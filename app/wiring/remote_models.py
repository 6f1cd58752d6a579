"""From settings to the copy of models at a URL."""

from app.mirror.following import MirrorThread
from app.mirror.location import Location
from app.mirror.mirror import Mirror
from app.mirror.remote import FsspecRemote
from app.settings import Settings


def mirror_of(settings: Settings) -> Mirror:
    """The copy of the URL that ``models_dir`` is."""
    location, directory = settings.models_dir, settings.only_models_dir
    assert isinstance(location, Location)
    assert directory is not None
    return Mirror(location, FsspecRemote(location), directory)


def mirror_thread(settings: Settings) -> MirrorThread | None:
    """Keeps the copy in step with the URL, or copies once if changes are not watched; None for a local directory."""
    if not isinstance(settings.models_dir, Location):
        return None
    return MirrorThread(mirror_of(settings), every_s=None if settings.watch == "off" else settings.mirror_every_s)
