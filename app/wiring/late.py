"""An ASGI application that is imported and built after the start."""

import asyncio
from collections.abc import Callable

from app.edge.respond import ASGIApp, Receive, Scope, Send


class LateApplication:
    """Builds an application in a thread, when it is first called or before.

    FastAPI takes a third of a second to import and to build. Inference and health checks do not need it, so that models
    load first.

    Args:
        build: imports and builds it. Called once, unless it raises.
    """

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._built: ASGIApp | None = None
        self._building = asyncio.Lock()

    async def built(self) -> ASGIApp:
        """The application. Raises what ``build`` raises."""
        if self._built is None:
            async with self._building:
                if self._built is None:
                    self._built = await asyncio.to_thread(self._build)
        return self._built

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        built = await self.built()
        await built(scope, receive, send)
