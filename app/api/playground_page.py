"""GET /: a page on which models can be tried. Its files are in ``playground/``; it calls the routes that clients call.

The page loads nothing from elsewhere, and its Content-Security-Policy lets it run no script but its own.
"""

from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from app.api.docs_page import PAGE, WholeFiles
from app.control.showcase import showcase
from app.errors import VersionNotFound
from app.lifecycle.registry import Registry

FILES = Path(__file__).parent / "playground"
ASSETS = "/playground/assets"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
    "vary": "accept",
}


def add_playground(app: FastAPI, registry: Registry, *, is_on: bool) -> None:
    """Add ``/``: the page for a browser, and for others the report that the service is live.

    Source for the latter: KServe, V1 protocol, server liveness.

    Args:
        registry: the models to show.
        is_on: otherwise a browser is led to the documentation.
    """

    async def root(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return Response(b'{"status":"alive"}', media_type="application/json", headers={"vary": "accept"})
        prefix = request.scope.get("root_path", "")
        if not is_on:
            return RedirectResponse(f"{prefix}{PAGE}", 307)
        return Response(_page(prefix), media_type="text/html", headers=_HEADERS)

    app.add_route("/", root, include_in_schema=False)
    if not is_on:
        return
    app.mount(ASSETS, WholeFiles(directory=FILES / "assets"))

    @app.get("/playground/models", include_in_schema=False)
    async def models() -> dict[str, Any]:
        return {"models": showcase(registry)}

    @app.get("/playground/models/{name}/versions/{version}/card", include_in_schema=False)
    async def card(name: str, version: int) -> Response:
        found = next((record.model for record in registry.records(name) if record.version == version), None)
        if found is None or not found.said.card:
            raise VersionNotFound(f"version {version} of model {name!r} has no card, or is not loaded")
        return PlainTextResponse(found.said.card, headers=_HEADERS)


@cache
def _template() -> str:
    return (FILES / "index.html").read_text(encoding="utf-8")


def _page(prefix: str) -> str:
    """The page, whose addresses are relative to the path prefix under which a proxy shows the service."""
    return _template().replace("{{base}}", f"{escape(prefix)}/")
