"""Recorded instances for tests, and the settings that switch recording on."""

import json

from app.contract.recordings.directory import RecordingDirectory
from app.contract.recordings.instance import print_line
from app.contract.recordings.reading import read_recordings


def document(request_id="a", instance=0, instances=1, **more):
    """A recorded instance as JSON."""
    return {
        "request_id": request_id,
        "instance": instance,
        "instances": instances,
        "time_s": 1000.0,
        "model": "m",
        "version": 3,
        "signature": "serving_default",
        "protocol": "v1:predict",
        "inputs": {"x": {"dtype": "int64", "shape": [2], "values": [1, 2]}},
        "outputs": {"y": {"dtype": "float32", "shape": [], "values": [0.5]}},
        **more,
    }


def line(request_id="a", instance=0, instances=1, **more):
    """A recorded instance as a line."""
    return print_line(document(request_id, instance, instances, **more))


def switch(model, recording, **more):
    """Write serving.json of the model whose version is in this directory, or of this one."""
    directory = model.parent if model.name.isdigit() else model
    document = dict(more) if recording is None else {"recording": recording, **more}
    (directory / "serving.json").write_text(json.dumps(document))


def recorded(state_dir, model="brightness"):
    """What is recorded of a model, as training reads it."""
    path = RecordingDirectory.of(state_dir, model).path
    return list(read_recordings(path)) if path.exists() else []
