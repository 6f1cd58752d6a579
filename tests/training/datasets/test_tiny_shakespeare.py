import hashlib
from dataclasses import replace

import numpy as np
import pytest

from app.contract.tokenizer import LINE_END, split_tokens
from training.datasets.archive import Archive
from training.datasets.drawn.verse_templates import MARKS, OPENINGS, SPEAKERS, write_speeches
from training.datasets.tiny_shakespeare import MAKERS, SPEECH_END, TinyShakespeare
from training.errors import DataDamaged, DataMissing

SPEECHES = [f"SPEAKER {number}:\nverse {number}, first;\nand last." for number in range(95)]
GONE = "file:///no such file"


def write_makers_file(directory, data: bytes | None = None) -> Archive:
    content = (SPEECH_END.join(SPEECHES) + "\n").encode() if data is None else data
    (directory / "input.txt").write_bytes(content)
    return Archive(name="input.txt", url=GONE, md5=hashlib.md5(content).hexdigest())


def parts(splits):
    return splits.train.instances, splits.validation.instances, splits.read_test().instances


def speeches(passages):
    return [speech for passage in passages for speech in passage.removesuffix(SPEECH_END).split(SPEECH_END)]


def test_the_makers_text_is_read_and_split_by_whole_passages(data_directory):
    (data_directory / "tinyshakespeare").mkdir()
    archive = write_makers_file(data_directory / "tinyshakespeare")
    source = TinyShakespeare(speeches=4, validation_share=0.25, test_share=0.125, archive=archive)
    splits = source.load()
    assert (splits.name, splits.form, splits.labels) == ("Tiny Shakespeare", "makers' text", ())
    assert splits.files == {"input.txt": hashlib.sha256((SPEECH_END.join(SPEECHES) + "\n").encode()).hexdigest()}
    assert [len(part) for part in parts(splits)] == [15, 6, 3]  # of 24 passages, the last with three speeches
    assert sorted(speeches(sum(parts(splits), ()))) == sorted(SPEECHES)
    for part in parts(splits):
        for passage in part:
            said = speeches([passage])
            first = SPEECHES.index(said[0])
            assert first % 4 == 0
            assert said == SPEECHES[first : first + 4]
            assert passage.endswith(SPEECH_END)
        assert list(part) == sorted(part, key=lambda passage: SPEECHES.index(speeches([passage])[0]))


def test_no_passage_is_in_two_parts_and_the_seed_alone_decides_which(data_directory):
    archive = write_makers_file(data_directory)
    source = TinyShakespeare(speeches=4, archive=archive)
    one, again = parts(source.load()), parts(source.load())
    assert one == again
    assert len(set(sum(one, ()))) == sum(map(len, one))
    others = [parts(replace(source, split_seed=seed).load()) for seed in range(1, 4)]
    assert all(other[1:] != one[1:] for other in others)
    assert all(set(sum(other, ())) == set(sum(one, ())) for other in others)


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_a_small_share_still_validates_and_tests_one_passage(data_directory, share):
    archive = write_makers_file(data_directory)
    splits = TinyShakespeare(speeches=20, validation_share=share, test_share=share, archive=archive).load()
    assert [len(part) for part in parts(splits)] == [3, 1, 1]


def test_labels_are_of_no_class_and_as_many_as_passages(data_directory):
    splits = TinyShakespeare(speeches=4, archive=write_makers_file(data_directory)).load()
    for part in (splits.train, splits.validation, splits.read_test()):
        assert part.labels.dtype == np.int32
        assert len(part) == len(part.instances) == len(part.labels)


def test_a_missing_file_names_itself_and_its_address(data_directory):
    archive = Archive(name="input.txt", url=GONE, md5="0")
    with pytest.raises(DataMissing, match=rf"input\.txt is not in .*{GONE}.*ATELIER_DATA_DIR"):
        TinyShakespeare(archive=archive).load()


def test_another_text_under_the_makers_name_is_refused(data_directory):
    write_makers_file(data_directory, b"my own notes")
    with pytest.raises(
        DataDamaged, match=r"input\.txt has md5 .*, but its makers published 6fb458f1232090904fb40fe944165e91"
    ):
        TinyShakespeare(archive=replace(MAKERS, url=GONE)).load()


def test_a_text_of_another_encoding_is_refused(data_directory):
    archive = write_makers_file(data_directory, "Brëad".encode("latin-1"))
    with pytest.raises(DataDamaged, match=r"input\.txt is not UTF-8"):
        TinyShakespeare(archive=archive).load()


def test_the_synthetic_form_has_passages_of_our_own_speeches():
    splits = TinyShakespeare(speeches=5, synthetic_count=10, validation_share=0.2, test_share=0.1).synthetic()
    assert (splits.name, splits.form, splits.labels, splits.files) == ("synthetic", "synthetic", (), {})
    assert [len(part) for part in parts(splits)] == [7, 2, 1]
    for part in parts(splits):
        assert all(len(speeches([passage])) == 5 for passage in part)
    assert all(speech.partition(":")[0] in SPEAKERS for speech in speeches(sum(parts(splits), ())))
    assert parts(TinyShakespeare(split_seed=1).synthetic()) != parts(TinyShakespeare().synthetic())


def test_speeches_of_our_own_have_a_speaker_and_one_to_five_verses_of_every_kind():
    written = write_speeches(400, seed=3)
    assert len(written) == 400
    heads = [speech.split("\n")[0] for speech in written]
    verses = [speech.split("\n")[1:] for speech in written]
    assert {head.removesuffix(":") for head in heads} == set(SPEAKERS)
    assert {len(lines) for lines in verses} == {1, 2, 3, 4, 5}
    every = [verse for lines in verses for verse in lines]
    assert {verse[-1] for verse in every} == set(MARKS)
    assert all(verse[0].isupper() and "\n" not in verse for verse in every)
    opened = [verse for verse in every if verse.startswith(OPENINGS)]
    assert 0.25 < len(opened) / len(every) < 0.42
    assert len(set(every)) > len(every) / 2


def test_equal_seeds_give_equal_speeches_and_others_do_not():
    assert write_speeches(5, seed=1) == write_speeches(5, seed=1) == write_speeches(9, seed=1)[:5]
    assert write_speeches(5, seed=1) != write_speeches(5, seed=2)


def test_speeches_of_our_own_have_the_tokens_of_a_play():
    tokens = {token for speech in write_speeches(200, seed=0) for token in split_tokens(speech, "lines")}
    assert tokens >= {LINE_END, *MARKS, "king", "queen"}
