"""The page at / in Chromium: what a visitor does and reads."""

import io
import re
import subprocess
import sys
import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import PICTURES
from training.datasets.drawn.synthetic import draw_garment

BOOT = [(150, 40), (245, 40), (255, 230), (25, 230), (25, 205), (90, 175), (140, 130), (150, 40)]


def choose(page, model):
    page.select_option("#model", model)


def answer(page):
    """The classes that are shown, best first; waits for them."""
    page.wait_for_selector("#answers .bar")
    return page.locator("#answers .bar > span:first-child").all_inner_texts()


def error(page):
    page.wait_for_selector("#error:not([hidden])")
    return page.inner_text("#error")


def drop(page, content, kind):
    """Drop a file on the drawing area."""
    page.evaluate(
        """([bytes, type]) => {
            const given = new DataTransfer();
            given.items.add(new File([new Uint8Array(bytes)], "file", { type }));
            document.getElementById("pad").dispatchEvent(new DragEvent("drop", { dataTransfer: given }));
        }""",
        [list(content), kind],
    )


def test_a_boot_that_is_drawn_with_the_mouse_is_an_ankle_boot(open_page):
    page = open_page()
    choose(page, "fashion-mnist-cnn")
    box = page.locator("#pad").bounding_box()
    # The outline, and strokes that fill it.
    lines = [BOOT, *[[(left, y), (right, y)] for y in range(50, 226, 14) for left, right in [_inside(y)]]]
    for line in lines:
        page.mouse.move(box["x"] + line[0][0], box["y"] + line[0][1])
        page.mouse.down()
        for x, y in line[1:]:
            page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
        page.mouse.up()
    page.click("#send")
    expect(page.locator("#answers .bar").first).to_contain_text("Ankle boot")


def _inside(y):
    """The ends of a line through the boot: toe to the left, shaft to the right."""
    return (155 if y < 130 else max(30, 155 - (y - 130) * 2), 248)


@pytest.mark.parametrize("example", ["Ankle boot", "Trouser", "Bag", "T-shirt", "Dress"])
def test_each_example_is_what_its_name_says(open_page, example):
    page = open_page()
    choose(page, "fashion-mnist-cnn")
    page.click(f'[aria-label="Example: {example}"]')
    assert answer(page)[0].startswith(example)


def test_a_photograph_of_twelve_megapixels_is_made_smaller_and_answered(open_page):
    page = open_page()
    choose(page, "fashion-mnist-cnn")
    boot = Image.fromarray(255 - draw_garment("Ankle boot")).resize((4000, 3000), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    boot.convert("RGB").save(file, "JPEG", quality=80)
    drop(page, file.getvalue(), "image/jpeg")
    assert answer(page)[0] == "Ankle boot"
    sent = page.evaluate("createImageBitmap(window.body).then((bitmap) => [bitmap.width, bitmap.height])")
    assert sent == [2048, 1536]


def test_a_file_that_is_no_picture_is_refused_in_words(open_page):
    page = open_page()
    choose(page, "fashion-mnist-cnn")
    drop(page, b"hello", "text/plain")
    assert error(page) == "This is not a picture."
    drop(page, b"\x89PNG\r\n\x1a\nnothing", "image/png")
    expect(page.locator("#error")).to_contain_text("cannot read")
    page.click("#clear")
    page.click("#send")
    expect(page.locator("#error")).to_contain_text("Draw something first")


def test_a_sentence_gets_its_label_and_the_time_of_each_stage(open_page):
    page = open_page()
    choose(page, "imdb-sentiment-lstm")
    page.click("#send")
    assert answer(page)[0] == "positive"
    page.fill("#words", "A complete waste of time and money.")
    page.click("#send")
    expect(page.locator("#answers .bar").first).to_contain_text("negative")
    assert re.search(r"queue [\d.]+, compute [\d.]+", page.inner_text("#answers"))


@pytest.mark.parametrize("method", ["occlusion", "shapley"])
def test_an_image_gets_a_heat_map_and_says_what_it_shows(open_page, method):
    page = open_page()
    choose(page, "fashion-mnist-cnn")
    page.click('[aria-label="Example: Ankle boot"]')
    answer(page)
    page.select_option("#method", method)
    page.click("#why")
    heat = page.locator("#answers canvas.heat")
    expect(heat).to_have_attribute("aria-label", re.compile(r"Orange parts speak for Ankle boot \(\d"))
    colours = heat.evaluate(
        """(canvas) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return data.some((red, place) => place % 4 === 0 && red > data[place + 2] + 60);
        }"""
    )
    assert colours
    expect(page.locator("#answers canvas.seen")).to_have_attribute("aria-label", re.compile("28 by 28 pixels, grey"))
    page.click("summary")
    expect(page.locator("#answers td").first).to_contain_text("rows")


def test_the_words_of_a_text_are_coloured_and_unknown_ones_marked(open_page):
    page = open_page()
    choose(page, "imdb-sentiment-lstm")
    page.fill("#words", "A wonderful film with a bad qwertzuiop end")
    page.click("#why")
    expect(page.locator(".words .for-4")).to_have_text("wonderful")
    expect(page.locator("[class^=against]").first).to_have_text("bad")
    expect(page.locator(".words .unknown")).to_have_text("qwertzuiop")
    assert [(each["id"]) for each in Axe().run(page).response["violations"]] == []


def test_columns_are_explained_by_their_names_and_values(open_page):
    page = open_page()
    choose(page, "columns")
    page.fill("#fields textarea, #fields input", "[3, 2, 1]")
    page.click("#why")
    rows = page.locator("#answers details tbody tr")
    expect(rows.first).to_have_text(re.compile(r"x\[0\] = 3\+6\.000"))
    expect(rows.nth(1)).to_have_text(re.compile(r"x\[1\] = 2−2\.000"))
    expect(rows.nth(2)).to_have_text(re.compile(r"x\[2\] = 1\+0\.000"))


def test_a_table_with_classes_is_classified_and_no_digit_of_a_number_is_lost(open_page):
    page = open_page()
    choose(page, "customers")
    page.fill('[name="age"]', "NaN")
    page.fill('[name="number"]', "9007199254740993")  # odd, and the next number that JavaScript has is even
    page.click("#send")
    assert answer(page) == ["stays", "leaves"]
    assert "9007199254740993" in page.inner_text("#code")
    page.fill('[name="age"]', "44.5")
    page.click("#send")
    expect(page.locator("#answers .bar").first).to_contain_text("leaves")
    page.click("#why")
    expect(page.locator("#answers details tbody tr").first).to_contain_text("age = 44.5")
    page.fill('[name="age"]', "young")
    page.click("#send")
    assert "age: young is not JSON; write numbers as 1.5, a missing number as NaN" in error(page)
    assert page.inner_text("#answers") == ""


@pytest.mark.parametrize("language", ["curl", "python", "triton", "javascript"])
def test_the_code_for_a_table_runs(open_page, language):
    page = open_page()
    choose(page, "customers")
    page.fill('[name="age"]', "NaN")
    page.fill('[name="number"]', "1")
    page.click(f'[data-language="{language}"]')
    code = page.inner_text("#code")
    if language == "javascript":
        assert page.evaluate(f"(async () => {{ {code}; return reply.status; }})()") == 200
        return
    program = ["bash", "-c", code.replace("curl", "curl -s", 1)] if language == "curl" else [sys.executable, "-c", code]
    printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert ("probabilities [[0.8" in printed) if language == "triton" else ("stays" in printed), printed


def test_an_answer_that_comes_late_is_not_shown_under_another_model(open_page):
    page = open_page()
    choose(page, "columns")
    page.route("**/v1/models/columns:explain*", lambda route: (time.sleep(1), route.continue_()))
    page.click("#why")
    choose(page, "customers")
    page.wait_for_timeout(2000)
    assert page.inner_text("#answers") == ""


def test_a_text_that_begins_as_the_name_of_a_file_is_sent_as_a_text(open_page, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("wonderful")
    page = open_page()
    choose(page, "imdb-sentiment-lstm")
    page.fill("#words", f"@{secret}")
    code = page.inner_text("#code")
    replies = [
        subprocess.run(["bash", "-c", each], capture_output=True, text=True, check=True).stdout
        for each in (code, code.replace(f"@{secret}", f"{secret}"))  # the tokenizer leaves the sign out
    ]
    assert replies[0] == replies[1]


def test_a_model_that_writes_texts_is_not_explained(open_page):
    page = open_page()
    choose(page, "shakespeare-next-word-lstm")
    expect(page.locator("#why")).to_be_hidden()


def test_a_text_is_continued_token_by_token(open_page):
    page = open_page()
    choose(page, "shakespeare-next-word-lstm")
    begun = page.input_value("#words")
    page.evaluate(
        """() => {
            window.pieces = 0;
            const count = new MutationObserver(() => { window.pieces += 1; });
            count.observe(document.getElementById("written"), { childList: true });
        }"""
    )
    page.click("#write")
    longer = re.compile(re.escape(begun) + r".{20,}", re.DOTALL)
    expect(page.locator("#written")).to_have_text(longer, timeout=20_000, use_inner_text=True)
    expect(page.locator("#write")).to_be_enabled(timeout=20_000)
    assert page.evaluate("window.pieces") > 5


def test_a_canary_is_compared_with_the_stable_version_on_one_input(open_page):
    page = open_page()
    choose(page, "fashion-mnist-mlp")
    page.select_option("#other", index=1)
    page.click('[aria-label="Example: Bag"]')
    page.wait_for_selector("#answers .second")
    assert "Both say Bag" in page.inner_text("#answers")


def test_each_version_shows_its_figure_and_its_card(open_page, service):
    page = open_page()
    choose(page, "fashion-mnist-cnn")
    expect(page.locator("#versions td").nth(3)).to_have_text(re.compile(r"^accuracy 0\.\d{4} on test data$"))
    page.click('[aria-label="Card of version 1"]')
    expect(page.locator("#card")).to_contain_text("Ten kinds of garment")
    assert [(each["id"]) for each in Axe().run(page).response["violations"]] == []
    choose(page, "columns")
    expect(page.locator("#card")).to_be_hidden()
    expect(page.locator('[aria-label="Card of version 1"]')).to_be_disabled()


def test_the_agreement_of_a_canary_is_shown(open_page, service):
    rows = {"instances": [[[level] * 28] * 28 for level in range(20)]}
    for _ in range(5):
        service.client.post("/v1/models/fashion-mnist-mlp:predict", json=rows).raise_for_status()
    page = open_page()
    choose(page, "fashion-mnist-mlp")
    expect(page.locator("#rollout")).to_have_text(
        re.compile(r"^Canary \d+ beside \d+: it gets 10 % of .* 100\.0 % of \d+ compared answers agree"), timeout=15_000
    )


def test_an_administrator_promotes_a_version_and_undoes_it(open_page, service):
    page = open_page()
    choose(page, "fashion-mnist-mlp")
    stable = service.client.get("/v2/repository/models/fashion-mnist-mlp").json()["serving"]
    page.click(f'[aria-label="Promote version {stable + 1}"]')
    expect(page.locator("#done")).to_contain_text(f"Version {stable + 1} of")
    assert service.client.get("/v2/repository/models/fashion-mnist-mlp").json()["serving"] == stable + 1
    page.click("#rollback")
    expect(page.locator("#done")).to_contain_text(f"Version {stable} of")
    assert service.client.get("/v2/repository/models/fashion-mnist-mlp").json()["serving"] == stable


def test_a_burst_is_batched_and_seen_in_the_live_figures(open_page):
    page = open_page()
    choose(page, "gym-schedule-rnn")
    page.click("#burst")
    expect(page.locator("#answers")).to_contain_text("200 answers in")
    expect(page.locator("#live .figure").first).to_contain_text(re.compile(r"[1-9]"))


def test_the_error_of_the_service_is_shown_as_it_is(open_page, service):
    page = open_page()
    choose(page, "gym-schedule-rnn")
    page.fill("#words", "x" * 200_000)
    page.click("#send")
    sentence = error(page)
    assert sentence.startswith(("400: ", "413: "))
    page.faults.clear()  # the browser reports a reply that is not 200 as an error, which is meant here


@pytest.mark.parametrize("language", ["curl", "python", "javascript", "triton"])
def test_the_request_is_shown_in_code(open_page, service, language):
    page = open_page()
    choose(page, "imdb-sentiment-lstm")
    page.fill("#words", 'It\'s "fine".')
    page.click(f'[data-language="{language}"]')
    code = page.inner_text("#code")
    assert "imdb-sentiment-lstm" in code
    if language == "python":
        compile(code, "page", "exec")
    if language == "curl":
        answered = subprocess.run(
            ["bash", "-c", code.replace("curl", "curl -s", 1)], capture_output=True, text=True, check=True
        )
        assert '"results"' in answered.stdout
    if language == "javascript":
        assert page.evaluate(f"(async () => {{ {code}; return reply.status; }})()") == 200


@pytest.mark.parametrize("size", ["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_read_and_used_by_everyone(open_page, size, scheme):
    """No violation of any of axe's rules; nothing is wider than the screen; a picture is kept."""
    page = open_page(size, scheme=scheme)
    choose(page, "fashion-mnist-cnn")
    page.click('[aria-label="Example: Ankle boot"]')
    answer(page)
    page.wait_for_timeout(2200)  # two readings of the live figures
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"playground-{size}-{scheme}.png", full_page=True)


def test_the_page_is_small_and_shown_within_a_second(open_page, service):
    sizes = []
    page = open_page()
    page.on("response", lambda reply: sizes.append(len(reply.body())) if reply.request.resource_type != "fetch" else 0)
    page.reload()
    page.wait_for_timeout(1500)
    assert sum(sizes) < 150_000
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert painted < 1000


def test_everything_can_be_reached_with_the_keyboard(open_page):
    page = open_page()
    choose(page, "imdb-sentiment-lstm")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"model", "version", "other", "words", "send", "burst", "key", "copy", "rollback", "admin"} <= reached
    page.focus("#send")
    page.keyboard.press("Enter")
    assert answer(page)[0] == "positive"


def test_the_documentation_is_one_step_away(open_page):
    page = open_page()
    page.click("text=API")
    page.wait_for_selector(".swagger-ui .opblock", timeout=20_000)
