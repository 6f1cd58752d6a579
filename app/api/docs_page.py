"""GET /docs: the OpenAPI document as Swagger UI, from an installed package instead of the internet."""

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

PAGE = "/docs"
ASSETS = f"{PAGE}/assets"
# Without this, Swagger UI would send our document to a validation server of its makers.
_PARAMETERS = {"validatorUrl": None}


def add_docs_page(app: FastAPI) -> None:
    """Add the page, its files, and ``/``, which redirects to it.

    The package is located without an import; each file is read when a browser requests it.
    """
    app.mount(ASSETS, StaticFiles(packages=[("fastapi_swagger", "resources")]))

    async def page(request: Request) -> Response:
        prefix = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{prefix}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{prefix}{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{prefix}{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{prefix}{ASSETS}/favicon-32x32.png",
            swagger_ui_parameters=_PARAMETERS,
        )

    async def root(request: Request) -> Response:
        return RedirectResponse(f"{request.scope.get('root_path', '')}{PAGE}", 307)

    app.add_route(PAGE, page, include_in_schema=False)
    app.add_route("/", root, include_in_schema=False)
