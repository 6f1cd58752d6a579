"""The page and /docs behind nginx, which shows the service under a path."""

import shutil

import pytest
from playwright.sync_api import expect

from tests.support.proxies import nginx
from tests.support.service import ROOT, Service

PREFIX = "/tools/atelier"


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed (Debian package nginx-light)")
def test_everything_works_under_the_path(browser, tmp_path):
    service = Service(ROOT / "models", environment={"ATELIER_ROOT_PATH": PREFIX})
    location = f"location {PREFIX}/ {{ proxy_pass {service.url}/; }}"
    with nginx(tmp_path, service.url, location) as proxy:
        page = browser.new_page()
        faults = []
        page.on("response", lambda reply: faults.append(reply.url) if reply.status >= 400 else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{proxy}{PREFIX}/")
        page.wait_for_selector("#model option", state="attached")
        page.select_option("#model", "fashion-mnist-cnn")
        page.click('[aria-label="Example: Bag"]')
        expect(page.locator("#answers .bar").first).to_contain_text("Bag")
        page.click("#why")
        expect(page.locator("#answers canvas.heat")).to_be_visible()
        expect(page.locator("#live .figure").first).to_be_visible()
        page.click("text=API")
        page.wait_for_selector(".swagger-ui .opblock", timeout=20_000)
        sections = page.locator(".opblock-tag").all_inner_texts()
        assert sections[0].startswith("inference")
        expect(page.locator(".servers select")).to_have_value(PREFIX)
        with page.expect_popup() as opened:
            page.click("text=Try them in the browser")
        opened.value.wait_for_selector("#model option", state="attached")
        assert opened.value.url == f"{proxy}{PREFIX}/"
        opened.value.close()
        assert faults == []
        page.close()
    assert service.stop() == 0
