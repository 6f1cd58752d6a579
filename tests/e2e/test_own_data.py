"""The tutorials about data of a user's own: every command, in a folder with such data, next to a running service."""

import re
import shlex

import httpx

from tests.support.own_data import write_flats, write_pictures, write_tickets
from tests.support.readme import ROOT, commands
from tests.support.service import Service, wait_until
from tests.support.training_command import run_training


class Tutorial:
    """Runs the commands of a page in a folder with the data that the page speaks of, next to a running service."""

    # What is added to a training, which otherwise takes minutes.
    SMALL = " --epochs 2"

    def __init__(self, page, folder):
        self.page, self.folder = ROOT / page, folder
        (folder / "models").mkdir()
        self.service = Service(folder / "models", wait_ready=False)

    def run(self):
        """Run all commands; yields (line, printed, promised) of those that print something."""
        for command in commands(self.page):
            line = command.line
            if line.startswith("make "):
                continue
            printed = self.ask(line) if line.startswith("curl ") else self.python(line)
            if command.output:
                yield line, printed.strip(), command.output

    def python(self, line):
        program, *arguments = shlex.split(line + (self.SMALL if " training run " in line else ""))
        assert program in {"python", ".venv/bin/python"}, line
        assert arguments[:2] == ["-m", "training"], line
        done = run_training(*arguments[2:], cwd=self.folder, columns=120)
        assert done.code == 0, f"{line}\n{done.out}{done.err}"
        return done.out.replace(f"{self.folder}/", "")

    def ask(self, line):
        """The answer to a curl command, once the service has noticed the new version."""
        _, *words = shlex.split(line)
        [url] = [word for word in words if "localhost:8000" in word]
        url = self.service.url + url.partition("localhost:8000")[2]
        model = re.search(r"/models/([\w-]+)", url)[1]
        wait_until(lambda: self.service.client.get(f"/v2/models/{model}/ready").status_code == 200)
        body = words[max(words.index(flag) for flag in ("-d", "--data-binary") if flag in words) + 1]
        content = (self.folder / body[1:]).read_bytes() if body.startswith("@") else body.encode()
        return httpx.post(url, content=content).raise_for_status().text


def without_figures(text):
    return re.sub(r"\d[\d.e-]*", "#", text)


def follow(page, folder, *, labels):
    """Each command prints what the page shows, but for figures of a training, its progress, and the label it gives."""
    tutorial = Tutorial(page, folder)
    shown = 0
    for line, printed, promised in tutorial.run():
        if " training new " in line:
            assert printed == promised, line
        elif " training run " in line:
            assert without_figures(printed.splitlines()[-1]) == without_figures(promised.splitlines()[-1]), printed
        elif labels:
            any_label = "|".join(map(re.escape, labels))
            assert re.sub(any_label, "LABEL", without_figures(printed)) == re.sub(
                any_label, "LABEL", without_figures(promised)
            )
        else:
            assert without_figures(printed) == without_figures(promised)
        shown += 1
    assert shown >= 3
    assert tutorial.service.stop() == 0


def test_the_tutorial_of_photos_works(tmp_path):
    write_pictures(tmp_path / "photos")
    follow("docs/tutorial/your-photos.md", tmp_path, labels=("circle", "square", "triangle"))


def test_the_tutorial_of_tables_works(tmp_path):
    write_flats(tmp_path / "flats.csv")
    follow("docs/tutorial/your-table.md", tmp_path, labels=())


def test_the_tutorial_of_texts_works(tmp_path):
    write_tickets(tmp_path / "tickets.csv")
    follow("docs/tutorial/your-texts.md", tmp_path, labels=("delivery", "payment", "returns"))
