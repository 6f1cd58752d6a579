"""Model versions with a contract and without a backend: sufficient for decoders."""

from dataclasses import MISSING, fields
from typing import Any

from app.contract.model_spec import ModelSpec
from app.contract.steps import Classification, ImagePreprocessing, TextPreprocessing, TransformStep
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import Tokenizer
from app.loaded import LoadedModel

SIDE = 4
WORDS = ("good", "bad", "film", "naïve", "don't")
PIXEL_LIMIT = 250_000


def image_model() -> LoadedModel:
    """4x4 grey images of two classes."""
    steps = (
        TransformStep(step="crop_square"),
        TransformStep(step="resize", arguments={"width": SIDE, "height": SIDE}),
        TransformStep(step="grey"),
    )
    spec = ModelSpec(
        name="image",
        inputs=(TensorSpec(name="pixels", dtype="uint8", shape=(SIDE, SIDE)),),
        outputs=(TensorSpec(name="probabilities", dtype="float32", shape=(2,)),),
        preprocessing=ImagePreprocessing(input="pixels", steps=steps),
        postprocessing=Classification(output="probabilities", labels=("dark", "bright")),
        opset=17,
        trained_on="nothing",
    )
    return version_of(spec, classes=("dark", "bright"))


def text_model() -> LoadedModel:
    """Texts of two classes."""
    tokenizer = Tokenizer(WORDS, max_length=16, keep="last")
    spec = ModelSpec(
        name="text",
        inputs=(TensorSpec(name="token_ids", dtype="int32", shape=(-1,), minimum=0, maximum=tokenizer.id_count - 1),),
        outputs=(TensorSpec(name="probabilities", dtype="float32", shape=(2,)),),
        preprocessing=TextPreprocessing(input="token_ids", max_length=16, keep="last"),
        postprocessing=Classification(output="probabilities", labels=("negative", "positive")),
        opset=17,
        trained_on="nothing",
    )
    return version_of(spec, classes=("negative", "positive"), tokenizer=tokenizer)


def numbers_model() -> LoadedModel:
    """Two inputs of numbers, one of which may be NaN or infinite."""
    spec = ModelSpec(
        name="numbers",
        inputs=(
            TensorSpec(name="x", dtype="float32", shape=(2,), finite=False),
            TensorSpec(name="count", dtype="int32", shape=(), minimum=0, maximum=9),
        ),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(1,)),),
        opset=17,
        trained_on="nothing",
    )
    return version_of(spec)


def rule_model() -> LoadedModel:
    """One number, finite or not."""
    spec = ModelSpec(
        name="rule",
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1,), finite=False),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(1,)),),
        opset=17,
        trained_on="nothing",
    )
    return version_of(spec)


def version_of(spec: ModelSpec, **known: Any) -> LoadedModel:
    """A loaded version with only the parts that decoding uses."""
    missing: dict[str, Any] = {
        field.name: None
        for field in fields(LoadedModel)
        if field.default is MISSING and field.default_factory is MISSING
    }
    values = {
        "name": spec.name,
        "version": 1,
        "spec": spec,
        "classes": (),
        "pixel_limit": PIXEL_LIMIT,
        "max_text_characters": 100_000,
    }
    return LoadedModel(**{**missing, **values, **known})
