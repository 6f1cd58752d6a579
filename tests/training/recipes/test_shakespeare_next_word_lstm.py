import io
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from app.contract.golden import Golden
from app.contract.model_spec import ModelSpec
from app.contract.steps import NextToken
from app.contract.tokenizer import LINE_END, Tokenizer, split_tokens
from tests.support.service import ROOT
from training.data.trigram import Trigram
from training.errors import SettingRefused
from training.export.model_export import keras_runner, onnx_runner
from training.overrides import apply_overrides
from training.recipes.shakespeare_next_word_lstm import EMBEDDING, RECIPE
from training.runs.publishing import model_spec
from training.runs.record import Plan
from training.runs.run import run, validate

LONGEST = 12
SMALL = [
    "data.speeches=6",
    "data.synthetic_count=16",
    "pipeline.vocabulary_size=120",
    f"pipeline.max_length={LONGEST}",
    "network.embedding=6",
    "network.units=8",
    "fitting.epochs=2",
    "fitting.batch_size=8",
    "study.prompt=KING:\nGood my lord",
    "study.tokens=15",
]
TINY = apply_overrides(RECIPE, SMALL)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Two epochs on our own speeches, published although the LSTM is worse than the trigram model."""
    directory = tmp_path_factory.mktemp("shakespeare")
    plan = Plan(dataset="synthetic", test=True, force=True, repository=directory / "models")
    return run(TINY, plan, directory=directory / "run", console=Console(file=io.StringIO(), width=200))


@pytest.fixture(scope="module")
def tokenizer(outcome):
    return Tokenizer.read(outcome.version / "vocabulary.txt", max_length=LONGEST, keep="last", scheme="lines")


def passages(tokenizer, examples) -> list[list[int]]:
    ids = {token: place for place, token in enumerate(tokenizer.tokens, start=2)}
    return [[ids.get(token, 1) for token in split_tokens(text, "lines")] for text in examples.instances]


def figures(outcome) -> dict[str, float]:
    return {figure.name: figure.value for figure in outcome.findings.figures}


def test_the_published_version_has_a_vocabulary_a_scheme_and_the_next_token(outcome, tokenizer):
    spec = ModelSpec.read(outcome.version)
    assert spec.postprocessing == NextToken(output="probabilities")
    assert (spec.preprocessing.scheme, spec.preprocessing.keep, spec.preprocessing.max_length) == ("lines", "last", 12)
    assert spec.outputs[0].shape == (tokenizer.id_count - 1,)
    assert {LINE_END, ":", ",", "king"} <= set(tokenizer.tokens)
    golden = Golden.read(outcome.version)
    assert {1, LONGEST} <= set(golden.lengths["token_ids"].tolist())
    # The network does not always answer with the unknown token: rows differ.
    assert np.abs(golden.outputs["probabilities"][0] - golden.outputs["probabilities"][9]).max() > 1e-6


def test_perplexities_are_those_of_each_token_from_what_precedes_it_in_its_passage(outcome, tokenizer):
    splits = TINY.data.synthetic()
    run_onnx = onnx_runner(outcome.version / "model.onnx", ModelSpec.read(outcome.version))
    trigram = Trigram(
        [np.array(passage) for passage in passages(tokenizer, splits.train)], vocabulary=tokenizer.id_count - 1
    )
    for part, examples in (("validation", splits.validation), ("test", splits.read_test())):
        found, counted = [], []
        for passage in passages(tokenizer, examples):
            for place in range(1, len(passage)):
                read = np.array([passage[max(0, place - LONGEST) : place]], np.int32)
                found.append(run_onnx({"token_ids": read})["probabilities"][0, passage[place] - 1])
                counted.append(trigram.probability(passage[place], tuple(passage[max(0, place - 2) : place])))
        measured = getattr(outcome, part)
        assert measured.rows == len(found)
        perplexity = float(np.exp(-np.log(found, dtype=np.float64).mean()))
        assert measured.perplexity == pytest.approx(perplexity, rel=1e-4)  # float32 probabilities
        assert figures(outcome)[f"{part} perplexity of the LSTM"] == measured.perplexity
        assert figures(outcome)[f"{part} perplexity of the trigram model"] == pytest.approx(
            float(np.exp(-np.log(counted).mean())), rel=1e-9
        )


def test_two_epochs_help_and_the_counts_know_more(outcome):
    assert outcome.validation.perplexity < 119
    missed = {figure.name for figure in outcome.findings.missed}
    assert missed == {"validation perplexity of the LSTM", "test perplexity of the LSTM"}
    assert "by --force" in outcome.gate


def test_it_continues_the_prompt_with_words_of_the_vocabulary(outcome, tokenizer):
    [text] = outcome.findings.notes
    assert text.startswith("king:\ngood my lord")
    tokens = split_tokens(text, "lines")
    assert len(tokens) == len(split_tokens(TINY.study.prompt, "lines")) + 15
    assert set(tokens) <= set(tokenizer.tokens)


def test_the_run_can_be_measured_again(outcome):
    again = validate(TINY, "synthetic", directory=outcome.directory)
    assert again.perplexity == pytest.approx(outcome.validation.perplexity, rel=1e-6)


def test_the_embedding_scores_and_reads_with_the_same_weights():
    splits = TINY.data.synthetic()
    feed = TINY.pipeline.bind(splits.train, classes=0)
    from training.recipe.recipe import Signature

    signature = Signature.of(feed, classes=0)
    every = TINY.build(TINY.network, signature)
    last = TINY.finish(TINY.network, every, signature, {})
    spec = model_spec(TINY, feed, splits, last)
    ids = {"token_ids": feed.passages(splits.validation)[0][None, :LONGEST]}
    before = keras_runner(last, spec)(ids)["probabilities"]
    table = every.get_layer(EMBEDDING)
    table.set_weights([weights * 3 for weights in table.get_weights()])
    after = keras_runner(last, spec)(ids)["probabilities"]
    assert np.abs(after - before).max() > 1e-4
    assert [tuple(weight.shape) for weight in last.weights].count((feed.tokenizer.id_count, 6)) == 1


def test_the_command_line_foretells_with_it(outcome):
    arguments = ("predict", RECIPE.name, "The king\n", "--models-dir", str(outcome.version.parents[1]), "--top-k", "2")
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2
    spec = ModelSpec.read(outcome.version)
    tokenizer = Tokenizer.read(outcome.version / "vocabulary.txt", max_length=LONGEST, keep="last", scheme="lines")
    scores = onnx_runner(outcome.version / "model.onnx", spec)({"token_ids": tokenizer.encode("The king\n")[None]})
    best = scores["probabilities"][0].argsort()[::-1][:2]
    assert [line.split()[1] for line in done.stdout.splitlines()] == [tokenizer.names[column] for column in best]


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(SettingRefused, match=r"study\.temperature must be above 0"):
        apply_overrides(RECIPE, ["study.temperature=0"])
