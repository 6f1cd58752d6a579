"""GET /docs: the OpenAPI document as Swagger UI, from an installed package instead of the internet."""

import os
from functools import lru_cache
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import PathLike, StaticFiles
from starlette.types import Scope

from app.api.docs_document import with_models
from app.lifecycle.registry import Registry

PAGE = "/docs"
ASSETS = f"{PAGE}/assets"
DOCUMENT = f"{PAGE}/openapi.json"
# Without this, Swagger UI would send our document to a validation server of its authors.
_PARAMETERS = {"validatorUrl": None}


class WholeFiles(StaticFiles):
    """Static files that are sent in one piece and kept in memory.

    A file in pieces keeps some hundred objects for as long as its client does not read. With thousands of such clients
    a garbage collection takes half a second.
    """

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The whole file, or 304."""
        found = super().file_response(full_path, stat_result, scope, status_code)
        if not isinstance(found, FileResponse):
            return found
        names = ("content-type", "etag", "last-modified")
        return Response(_content(str(full_path)), status_code, {name: found.headers[name] for name in names})


@lru_cache(maxsize=16)
def _content(path: str) -> bytes:
    return Path(path).read_bytes()


def add_docs_page(app: FastAPI, registry: Registry) -> None:
    """Add the page, its files and its document.

    The package is located without an import; each file is read when a browser requests it.

    Args:
        app: whose routes are shown.
        registry: the models that the page offers.
    """
    app.mount(ASSETS, WholeFiles(packages=[("fastapi_swagger", "resources")]))

    async def page(request: Request) -> Response:
        prefix = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{prefix}{DOCUMENT}",
            title=app.title,
            swagger_js_url=f"{prefix}{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{prefix}{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{prefix}{ASSETS}/favicon-32x32.png",
            swagger_ui_parameters=_PARAMETERS,
        )

    async def document(request: Request) -> Response:
        shown = with_models(app.openapi(), registry)
        if prefix := request.scope.get("root_path", ""):
            shown["servers"] = [{"url": prefix}]
        return JSONResponse(shown)

    app.add_route(DOCUMENT, document, include_in_schema=False)
    app.add_route(PAGE, page, include_in_schema=False)
