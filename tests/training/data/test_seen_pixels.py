"""What a network sees of a picture is the same in training and in the service, byte by byte."""

import base64

import numpy as np
import pytest

from app.contract.model_spec import ModelSpec
from app.contract.steps import TransformStep
from app.contract.tensor_spec import TensorSpec
from tests.support.own_data import write_pictures
from tests.support.service import Service
from training.data.pipelines import ImagePipeline
from training.data.reading import read_data
from training.data.settings import Span
from training.export.model_export import OPSET
from training.publish.publish import publish_model
from training.sources.image_folder import ImageFolder

SIZE = 24
STEPS = (
    TransformStep(step="crop_square"),
    TransformStep(step="resize", arguments={"width": SIZE, "height": SIZE}),
)


def echo(feed):
    """A network that answers with the pixels that it sees."""
    import tf_keras
    from tf_keras import layers

    pixels = layers.Input(feed.input.shape, dtype="uint8", name="pixels")
    seen = layers.Flatten()(layers.Lambda(lambda x: x + 0.0, name="as_numbers")(layers.Rescaling(1.0)(pixels)))
    return tf_keras.Model(pixels, layers.Activation("linear", name="values")(seen))


@pytest.mark.parametrize("memory_limit_mb", [512, 0])
def test_the_network_sees_the_same_bytes_in_training_and_in_the_service(memory_limit_mb, tmp_path):
    """A JPEG and a PNG of mixed sizes; decoded into memory, and decoded batch by batch."""
    write_pictures(tmp_path / "photos", count=30)
    pipeline = ImagePipeline(steps=STEPS, memory_limit_mb=memory_limit_mb)
    source = ImageFolder(folder=str(tmp_path / "photos"), validation_share=0.0, test_share=0.0)
    splits = read_data(source, pipeline, synthetic=False)
    feed = pipeline.bind(splits.train, classes=3)
    trained_on = {
        image.tobytes()
        for pixels, _ in feed.training(splits.train, Span(epochs=1, batch_size=30, seed=0))
        for image in pixels.numpy()
    }
    evaluated = [
        image.tobytes() for pixels, _ in feed.evaluation(splits.train, batch_size=7)[0] for image in pixels.numpy()
    ]
    assert set(evaluated) == trained_on
    spec = ModelSpec(
        name="echo",
        inputs=(feed.input,),
        outputs=(TensorSpec(name="values", dtype="float32", shape=(SIZE * SIZE * 3,)),),
        preprocessing=feed.preprocessing,
        opset=OPSET,
        trained_on="nothing",
    )
    publish_model(echo(feed), spec, metrics={}, baseline={}, card=lambda metrics: "", repository=tmp_path / "models")
    paths = source.load().train.instances
    service = Service(tmp_path / "models")
    for suffix in (".jpg", ".png"):
        place = next(place for place, path in enumerate(paths) if path.endswith(suffix))
        with open(paths[place], "rb") as file:
            instance = {"b64": base64.b64encode(file.read()).decode()}
        reply = service.client.post("/v1/models/echo:predict", json={"instances": [instance]})
        assert np.array(reply.json()["predictions"][0], np.uint8).tobytes() == evaluated[place]
    assert service.stop() == 0
