"""An ASGI application that is imported and built after the start."""

import asyncio
import sys
from collections.abc import Callable

from app.edge.respond import ASGIApp, Receive, Scope, Send

# While it is built, requests get their turn after so many seconds of Python code; the default is ten times as long.
SWITCH_S = 0.0005


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
                    interval_s = sys.getswitchinterval()
                    sys.setswitchinterval(SWITCH_S)
                    try:
                        self._built = await asyncio.to_thread(self._build)
                    finally:
                        sys.setswitchinterval(interval_s)
        return self._built

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        built = await self.built()
        await built(scope, receive, send)
