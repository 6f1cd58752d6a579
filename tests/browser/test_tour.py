"""A short tour of the page as an animated picture, build/browser/tour.webp: it opens the README."""

import io

from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import PICTURES

WIDTH = 900
LONG_MS, SHORT_MS = 2500, 1200
LIMIT_BYTES = 2 * 2**20


def test_the_tour_shows_an_answer_its_reasons_a_text_and_a_burst(open_page):
    page = open_page("tour")
    frames: list[tuple[Image.Image, int]] = []

    def keep(milliseconds):
        page.mouse.move(0, 0)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        height = round(picture.height * WIDTH / picture.width)
        frames.append((picture.resize((WIDTH, height), Image.Resampling.LANCZOS), milliseconds))

    bars = page.locator("#answers .bar")
    page.select_option("#model", "fashion-mnist-cnn")
    keep(SHORT_MS)
    page.click('[aria-label="Example: Ankle boot"]')
    expect(bars.first).to_contain_text("Ankle boot")
    keep(LONG_MS)
    page.click("#why")
    expect(page.locator("#answers canvas.heat")).to_be_visible()
    keep(LONG_MS)
    page.select_option("#model", "imdb-sentiment-lstm")
    page.fill("#words", "Wonderful actors in a film with a dull plot and a bad end.")
    keep(SHORT_MS)
    page.click("#send")
    expect(bars.first).to_be_visible()
    keep(LONG_MS)
    page.click("#why")
    expect(page.locator(".words")).to_be_visible()
    keep(LONG_MS)
    page.click("#burst")
    expect(page.locator("#answers")).to_contain_text("200 answers in")
    page.wait_for_timeout(1500)  # until the live figures have read it
    keep(LONG_MS)
    first, *others = [picture for picture, _ in frames]
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / "tour.webp"
    durations = [milliseconds for _, milliseconds in frames]
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=70, method=6)
    with Image.open(path) as written:
        assert written.n_frames == len(frames)
    assert path.stat().st_size < LIMIT_BYTES
