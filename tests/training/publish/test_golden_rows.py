import numpy as np
import pytest

from app.contract.steps import ImagePreprocessing, TransformStep
from app.contract.tensor_spec import TensorSpec
from app.contract.transforms import image_to_instance
from tests.training.tiny_networks import (
    CLASSES,
    IMAGE_SPEC,
    LONGEST,
    SENTIMENTS,
    TEXT_SPEC,
    TOKENIZER,
    cnn,
    masked_lstm,
    mlp,
    spec_of,
)
from training.datasets.drawn import synthetic
from training.export.model_export import keras_runner
from training.publish.golden_rows import Material, golden_rows
from training.publish.golden_search import GoldenIncomplete
from training.publish.golden_texts import golden_texts

TEXTS, _ = synthetic.sentences(200, seed=3)
COLOUR = TensorSpec(name="pixels", dtype="uint8", shape=(12, 12, 3))
RESIZE = TransformStep(step="resize", arguments={"width": 12, "height": 12})
COLOUR_SPEC = spec_of("colour", COLOUR, CLASSES, ImagePreprocessing(input="pixels", steps=(RESIZE,)))


def dense(shape, dtype, *, bias=(0.0, 0.0, 0.0)):
    """One dense layer over numbers of any shape; a large bias gives one class nearly always."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(3)
    numbers = layers.Input(shape, dtype=dtype, name="numbers")
    flat = layers.Flatten()(layers.Rescaling(1 / 64)(numbers))
    start = tf_keras.initializers.Constant(bias)
    return tf_keras.Model(numbers, layers.Dense(3, activation="softmax", bias_initializer=start)(flat))


def given(spec, model, inputs, lengths):
    """Class of every row, each run on its own and unpadded."""
    run, [name] = keras_runner(model, spec), list(inputs)
    rows = [row[None, : int(lengths[name][i])] if lengths else row[None] for i, row in enumerate(inputs[name])]
    return [int(run({name: row})["probabilities"].argmax()) for row in rows]


@pytest.mark.parametrize("build", [mlp, cnn])
def test_drawn_images_give_every_class(build):
    model = build()
    inputs, lengths, _ = golden_rows(IMAGE_SPEC, model, None)
    assert inputs["pixels"].shape == (64, 8, 8)
    assert inputs["pixels"].dtype == np.uint8
    assert not lengths
    assert set(given(IMAGE_SPEC, model, inputs, lengths)) == {0, 1, 2}


def test_equal_models_get_equal_rows():
    first, second = golden_rows(IMAGE_SPEC, mlp(), None), golden_rows(IMAGE_SPEC, mlp(), None)
    np.testing.assert_array_equal(first[0]["pixels"], second[0]["pixels"])
    assert first[2] == second[2]


def test_raw_images_carry_the_label_that_keras_gives_after_the_steps():
    model = mlp(seed=4)
    run = keras_runner(model, IMAGE_SPEC)
    _, _, raw = golden_rows(IMAGE_SPEC, model, None)
    assert {sample.name for sample in raw} & {"ankle-boot.png", "ankle-boot-photo.png"}
    for sample in raw:
        pixels = image_to_instance(
            sample.data, preprocessing=IMAGE_SPEC.preprocessing, target=IMAGE_SPEC.input("pixels")
        )
        assert CLASSES[run({"pixels": pixels[None]})["probabilities"].argmax()] == sample.label


def test_a_class_that_no_drawing_gets_is_climbed_to():
    model = dense((12, 12, 3), "uint8", bias=(20.0, 0.0, 0.0))
    inputs, lengths, _ = golden_rows(COLOUR_SPEC, model, None)
    assert inputs["pixels"].dtype == np.uint8
    assert set(given(COLOUR_SPEC, model, inputs, lengths)) == {0, 1, 2}


def test_a_class_that_the_model_never_predicts_is_named():
    model = dense((12, 12, 3), "uint8", bias=(20000.0, 0.0, 0.0))
    with pytest.raises(GoldenIncomplete, match="colour: no instance was found that the model assigns to 'middle'"):
        golden_rows(COLOUR_SPEC, model, None)


def test_texts_run_from_one_token_to_the_longest_and_give_both_classes():
    model = masked_lstm(seed=2)
    inputs, lengths, raw = golden_rows(TEXT_SPEC, model, TOKENIZER, Material(texts=TEXTS))
    ids, counts = inputs["token_ids"], lengths["token_ids"]
    assert ids.shape == (64, LONGEST)
    assert ids.dtype == counts.dtype == np.int32
    assert counts.min() == 1
    assert counts.max() == LONGEST
    assert len(set(counts.tolist())) > LONGEST / 2
    np.testing.assert_array_equal((ids > 0).sum(1), counts)
    np.testing.assert_array_equal(ids > 0, np.arange(LONGEST) < counts[:, None])  # padding only after the text
    assert set(given(TEXT_SPEC, model, inputs, lengths)) == {0, 1}
    run = keras_runner(model, TEXT_SPEC)
    for sample in raw:
        answer = run({"token_ids": TOKENIZER.encode(sample.data.decode())[None]})["probabilities"]
        assert SENTIMENTS[answer.argmax()] == sample.label


class Stubborn:
    """A classifier: positive only if more than a third of a text is the last word of the vocabulary."""

    every_class = True
    labels = ("negative", "positive")
    wanted = range(2)

    def scores(self, batch):
        share = (batch == TOKENIZER.id_count - 1).mean(1)
        positive = np.clip(share * 1.5, 0, 1)
        return np.stack([1 - positive, positive], axis=1)

    def check_all_given(self, given):
        assert set(given) == {0, 1}

    def never(self, label):
        return GoldenIncomplete(self.labels[label])


def test_a_class_that_no_written_text_gets_is_reached_by_exchanging_words():
    rows = golden_texts(Stubborn(), TOKENIZER, TEXTS)
    given = [int(Stubborn().scores(row[None]).argmax()) for row in rows]
    assert sorted(set(given)) == [0, 1]
    assert {min(map(len, rows)), max(map(len, rows))} == {1, LONGEST}


def test_a_class_that_no_exchange_of_words_reaches_is_named():
    class Deaf(Stubborn):
        def scores(self, batch):
            return np.tile(np.float32([[0.9, 0.1]]), (len(batch), 1))

    with pytest.raises(GoldenIncomplete, match="positive"):
        golden_texts(Deaf(), TOKENIZER, TEXTS)


def test_a_text_model_without_its_tokenizer_is_a_mistake():
    with pytest.raises(ValueError, match="requires its tokenizer"):
        golden_rows(TEXT_SPEC, masked_lstm(), None)


def test_any_other_input_gets_random_numbers_within_its_range():
    tensor = TensorSpec(name="numbers", dtype="float32", shape=(5,), minimum=-2, maximum=3)
    spec, model = spec_of("numbers", tensor, CLASSES), dense((5,), "float32")
    inputs, lengths, raw = golden_rows(spec, model, None)
    assert inputs["numbers"].shape == (64, 5)
    assert inputs["numbers"].dtype == np.float32
    assert inputs["numbers"].min() >= -2
    assert inputs["numbers"].max() <= 3
    assert not lengths
    assert not raw
    assert set(given(spec, model, inputs, lengths)) == {0, 1, 2}


def test_numbers_of_variable_length_have_lengths_of_one_to_64_and_no_padding_inside():
    tensor = TensorSpec(name="numbers", dtype="int32", shape=(-1,), minimum=0, maximum=9)
    spec = spec_of("numbers", tensor, CLASSES)
    inputs, lengths, _ = golden_rows(spec, None, None)
    assert sorted({1, 64} & set(lengths["numbers"].tolist())) == [1, 64]
    np.testing.assert_array_equal((inputs["numbers"] > 0).sum(1), lengths["numbers"])


def test_without_texts_random_words_of_the_vocabulary_are_used():
    model = masked_lstm()
    inputs, lengths, raw = golden_rows(TEXT_SPEC, model, TOKENIZER, Material(every_class=False))
    again, _, _ = golden_rows(TEXT_SPEC, model, TOKENIZER, Material(every_class=False))
    assert sorted({*lengths["token_ids"].tolist()}) == list(range(1, LONGEST + 1))
    np.testing.assert_array_equal(inputs["token_ids"], again["token_ids"])
    words = {word for sample in raw for word in sample.data.decode().split()}
    assert words <= {*TOKENIZER.tokens, "—"}


def test_a_class_that_a_network_never_gives_is_no_error_if_not_every_class_is_required():
    import tf_keras

    pixels = tf_keras.Input((8, 8), dtype="uint8", name="pixels")
    flat = tf_keras.layers.Flatten()(tf_keras.layers.Rescaling(0.0)(pixels))
    answer = tf_keras.layers.Dense(
        len(CLASSES), activation="softmax", bias_initializer=tf_keras.initializers.Constant([1, 0, 0])
    )
    model = tf_keras.Model(pixels, answer(flat))
    with pytest.raises(GoldenIncomplete, match="middle"):
        golden_rows(IMAGE_SPEC, model, None)
    inputs, _, _ = golden_rows(IMAGE_SPEC, model, None, Material(every_class=False))
    assert inputs["pixels"].shape == (64, 8, 8)


def test_pictures_that_may_be_published_are_among_the_samples():
    pictures = np.random.default_rng(5).integers(0, 256, (20, 8, 8)).astype(np.uint8)
    inputs, _, raw = golden_rows(IMAGE_SPEC, mlp(), None, Material(pictures=pictures, every_class=False))
    shown = {row.tobytes() for row in inputs["pixels"]} & {picture.tobytes() for picture in pictures}
    assert shown
    examples = [sample for sample in raw if sample.name.startswith("example-")]
    decoded = {
        image_to_instance(sample.data, preprocessing=IMAGE_SPEC.preprocessing, target=IMAGE_SPEC.inputs[0]).tobytes()
        for sample in examples
    }
    assert decoded <= {picture.tobytes() for picture in pictures}
