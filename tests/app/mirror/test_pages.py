"""Which links of a page are files and directories below it."""

import pytest

from app.mirror.pages import names_on

URL = "http://host/models/"


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("1/", "1/"),
        ("./model.onnx", "model.onnx"),
        ("/models/serving.json", "serving.json"),
        ("http://host/models/1/", "1/"),
        ("notes%20100%25.txt", "notes 100%.txt"),
        ("a&amp;b", "a&b"),
    ],
)
def test_a_link_to_a_file_or_directory_is_its_name(link, name):
    assert names_on(f'<a href="{link}">x</a>', URL) == [name]


@pytest.mark.parametrize(
    "link",
    [
        *("?C=N;O=D", "../", "/", "..", ".", "#top", ""),
        *(
            "http://other/models/1/",
            "https://host/models/1/",
            "//other/1/",
            "javascript:alert(1)",
            "file:///etc/passwd",
        ),
        *("%2F987654321/", "..%2F..%2Fetc", "%2e%2e/", "1/model.onnx", "http://[bad/", "model.onnx?version=2"),
    ],
)
def test_other_links_are_left_out(link):
    assert names_on(f'<a href="{link}">x</a>', URL) == []


def test_only_links_count_and_each_once():
    page = '<link href="style.css"><a href="1/">1</a><a name="x"><img src="y.png"><a href="1/">again</a>'
    assert names_on(page, URL) == ["1/"]
