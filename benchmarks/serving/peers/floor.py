"""The floor: uvicorn and an ASGI application that only reads the body and sends a constant reply.

``POST /135`` is answered with 135 bytes of JSON, the size of the real answer.
"""

from functools import cache
from typing import Any

from network import port


@cache
def reply(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two messages that answer ``path``."""
    size = int(path[1:]) if path[1:].isdigit() else 15
    body = b'{"text":"' + b"x" * (size - 11) + b'"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return {"type": "http.response.start", "status": 200, "headers": headers}, {
        "type": "http.response.body",
        "body": body,
    }


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the whole body, then answer."""
    while (await receive()).get("more_body", False):
        pass
    start, body = reply(scope["path"])
    await send(start)
    await send(body)


if __name__ == "__main__":
    import uvicorn  # other servers run the application, too

    uvicorn.run(
        app, port=port(), loop="uvloop", http="httptools", lifespan="off", access_log=False, log_level="warning"
    )
