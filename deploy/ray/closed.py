"""Refuses the commands of administrators: through Serve they would reach one replica of several."""

import re

from app.edge.respond import ASGIApp, Receive, Scope, Send, error_reply, send_reply
from app.errors import Forbidden

PREFIX = "/v2/repository/"
INSTEAD = {
    "load": "publish a version of {0!r} in the models directory",
    "unload": "remove the versions of {0!r} from the models directory",
    "promote": "use `python -m app promote {0} VERSION --models-dir DIR`",
    "rollback": "use `python -m app rollback {0} --models-dir DIR`",
}
_COMMAND = re.compile(rf"{PREFIX}(?:[^/]+/)?models/(?P<model>[^/]+)/(?P<verb>{'|'.join(INSTEAD)})")


class Closed:
    """The ASGI application ``inner`` without the routes that change what is served."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        path = scope.get("path", "")
        if path.startswith(PREFIX) and (found := _COMMAND.fullmatch(path)) is not None:
            instead = INSTEAD[found["verb"]].format(found["model"])
            error = Forbidden(
                f"{found['verb']} is closed on Ray, since it would change one replica of several; {instead}: every "
                "replica follows the directory"
            )
            await send_reply(error_reply(error), send)
            return
        await self._inner(scope, receive, send)
