"""A service with a canary, and a page of a real browser in which nothing may go wrong unnoticed."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from playwright.sync_api import sync_playwright

from tests.support.bare_models import write_graph
from tests.support.service import ROOT, Service
from tests.support.tiny_models import write_customers_model

SIZES = {"phone": (360, 800), "desktop": (1440, 1000), "tour": (1200, 900)}
KEEP_BODY = """
    const real = fetch;
    window.fetch = (url, sent) => {
        window.body = sent?.body ?? window.body;
        return real(url, sent);
    };
"""
PICTURES = Path(os.environ.get("ATELIER_BROWSER_PICTURES", ROOT / "build" / "browser"))


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """The published models, two of columns; fashion-mnist-mlp has a second version, a canary."""
    models = tmp_path_factory.mktemp("browser") / "models"
    shutil.copytree(ROOT / "models", models)
    mlp = models / "fashion-mnist-mlp"
    stable = max(int(path.name) for path in mlp.iterdir() if path.name.isdecimal())
    shutil.copytree(mlp / str(stable), mlp / str(stable + 1))
    labels = {"stable": stable, "canary": stable + 1}
    rollout = {"canary": {"percent": 10}, "shadow": {"percent": 100}}
    (mlp / "serving.json").write_text(json.dumps({"version_labels": labels, "rollout": rollout}))
    weights = {"factors": np.array([[2.0], [-1.0], [0.0]], np.float32)}
    columns, number = ("x", TensorProto.FLOAT, ["rows", 3]), ("y", TensorProto.FLOAT, ["rows", 1])
    write_graph(models, "columns", [helper.make_node("MatMul", ["x", "factors"], ["y"])], [columns], [number], weights)
    write_customers_model(models)
    service = Service(models)
    yield service
    assert service.stop() == 0


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--use-fake-device-for-media-stream"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, service):
    """A function that opens the page; at the end no script has failed, and nothing was loaded from elsewhere."""
    opened = []

    def open_(size="desktop", *, scheme="light", path="/"):
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.add_init_script(KEEP_BODY)
        page = context.new_page()
        faults = []
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: _note_foreign(request.url, str(service.client.base_url), faults))
        page.goto(f"{service.client.base_url}{path}")
        page.wait_for_selector("#model option", state="attached")
        opened.append((context, faults))
        page.faults = faults
        return page

    yield open_
    for context, faults in opened:
        assert faults == []
        context.close()


def _note_foreign(url: str, base: str, faults: list[str]) -> None:
    if not url.startswith((base, "blob:", "data:")):
        faults.append(f"loads {url}")
