"""The last valid serving.json of each model, used while the file is broken."""

import asyncio
import logging

from app.repository.policy import ServingPolicy
from app.repository.repository import Repository

log = logging.getLogger("atelier.lifecycle")


class LastValidPolicies:
    """Kept in memory, and in a file next to serving.json, where a restart finds it.

    Args:
        repository: the models directory.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._followed: dict[str, ServingPolicy] = {}
        # Models whose copy could not be written, as already logged.
        self._unwritable: set[str] = set()

    async def get(self, name: str) -> ServingPolicy | None:
        """The policy of a model that was followed last, by this process or before; None if it is not known."""
        return self._followed.get(name) or await asyncio.to_thread(self._repository.last_valid, name)

    async def keep(self, name: str, policy: ServingPolicy, *, overwrite: bool = True) -> None:
        """Keep a policy that is followed.

        Args:
            name: model.
            policy: of it.
            overwrite: False leaves the copy in the file, if there is one: another process may have written a newer one.
        """
        self._followed[name] = policy
        try:
            if overwrite or await asyncio.to_thread(self._repository.last_valid, name) is None:
                await asyncio.to_thread(self._repository.remember, name, policy)
            self._unwritable.discard(name)
        except OSError as error:
            if name not in self._unwritable:
                log.warning(
                    "model %s: the copy of serving.json cannot be written: %s. If serving.json breaks, a restart uses "
                    "the copy from before, or does not serve the model",
                    name,
                    error.strerror,
                )
            self._unwritable.add(name)
