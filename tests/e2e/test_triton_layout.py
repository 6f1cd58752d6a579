"""A repository in Triton's layout: config.pbtxt takes the place of serving.json and model.json."""

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from onnx import TensorProto, helper

from tests.support.bare_models import write_graph
from tests.support.grpc_service import GrpcService
from tests.support.model_state import reason
from tests.support.service import starting, wait_until
from tests.support.tiny_models import write_brightness_model

TENSORS = """
input [{ name: "x" data_type: TYPE_FP32 dims: [ 3 ] }]
output [{ name: "scores" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" }]
"""
CONFIG = f"""
name: "scorer"
platform: "onnxruntime_onnx"
max_batch_size: 4
{TENSORS}
"""


def write_scorer(models, config=CONFIG, *, name="scorer", versions=(1,), sizes=("rows", 3)):
    """Softmax of three numbers, times the version."""
    for version in versions:
        write_graph(
            models,
            name,
            [helper.make_node("Softmax", ["x"], ["soft"], axis=-1), helper.make_node("Mul", ["soft", "v"], ["scores"])],
            [("x", TensorProto.FLOAT, sizes)],
            [("scores", TensorProto.FLOAT, sizes)],
            {"v": np.float32(version)},
            version=version,
        )
    for file, labels in {"labels.txt": "low\nmiddle\nhigh\n", "two.txt": "low\nhigh\n", "one.txt": "low\n"}.items():
        (models / name / file).write_text(labels)
    (models / name / "config.pbtxt").write_text(config)


def with_batching(text):
    return f"{CONFIG}\ndynamic_batching {{ {text} }}"


@pytest.fixture
def start_grpc():
    """Starts services that listen for gRPC as well."""
    yield from starting(GrpcService)


@pytest.fixture
def models(tmp_path):
    directory = tmp_path / "models"
    directory.mkdir()
    return directory


def test_tritons_client_keeps_working(models, start):
    write_scorer(models)
    service = start(models)
    client = triton.InferenceServerClient(service.url.removeprefix("http://"))
    config = client.get_model_config("scorer")
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (4, [3])
    rows = np.array([[1, 2, 3], [5, 0, 0]], np.float32)
    given = triton.InferInput("x", [2, 3], "FP32")
    given.set_data_from_numpy(rows)
    found = client.infer("scorer", [given]).as_numpy("scores")
    np.testing.assert_allclose(found, np.exp(rows) / np.exp(rows).sum(1, keepdims=True), rtol=1e-5)
    best = client.infer("scorer", [given], outputs=[triton.InferRequestedOutput("scores", class_count=1)])
    assert [text.decode().split(":")[-1] for text in best.as_numpy("scores").ravel()] == ["high", "low"]
    client.close()


@pytest.mark.parametrize(
    ("policy", "serves"),
    [
        ("latest { num_versions: 2 }", [3, 2]),
        ("all { }", [3, 2, 1]),
        ("specific { versions: [ 1, 3 ] }", [3, 1]),
        ("latest { }", [3]),
    ],
)
def test_the_version_policy_is_followed(models, start, policy, serves):
    write_scorer(models, f"{CONFIG}\nversion_policy: {{ {policy} }}", versions=(1, 2, 3))
    service = start(models)
    found = service.client.get("/v1/models/scorer").json()["model_version_status"]
    assert [int(each["version"]) for each in found if each["state"] == "AVAILABLE"] == serves


def test_sizes_priorities_times_and_instances_are_followed(models, start):
    batching = """
    max_queue_delay_microseconds: 700 priority_levels: 5 default_priority_level: 4
    default_queue_policy { max_queue_size: 2 default_timeout_microseconds: 1500 }
    """
    write_scorer(models, with_batching(batching) + "instance_group [{ count: 2 kind: KIND_CPU }]")
    service = start(models)
    config = service.client.get("/v2/models/scorer/config").json()
    dynamic = config["dynamic_batching"]
    assert dynamic["max_queue_delay_microseconds"] == 700
    assert (dynamic["priority_levels"], dynamic["default_priority_level"]) == (5, 4)
    assert dynamic["default_queue_policy"]["default_timeout_microseconds"] == 2_000
    assert config["instance_group"][0]["count"] == 2
    reply = service.client.post("/v1/models/scorer:predict", json={"instances": [[1, 2, 3]] * 5})
    assert reply.json()["error"].startswith("request holds 5 instances")  # two requests, but at least one full batch


def test_serving_json_counts_more(models, start):
    write_scorer(models, with_batching("max_queue_delay_microseconds: 700 priority_levels: 5"))
    (models / "scorer" / "serving.json").write_text('{"batching": {"priority_levels": 7, "default_priority_level": 1}}')
    dynamic = start(models).client.get("/v2/models/scorer/config").json()["dynamic_batching"]
    assert (dynamic["max_queue_delay_microseconds"], dynamic["priority_levels"]) == (700, 7)


def test_without_a_batch_dims_are_all_dimensions(models, start):
    config = 'max_batch_size: 0 input { name: "x" data_type: TYPE_FP32 dims: [ -1, 3 ] }'
    write_scorer(models, config)
    service = start(models)
    metadata = service.client.get("/v2/models/scorer").json()
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert service.client.get("/v2/models/scorer/config").json()["max_batch_size"] == 0
    assert reason(service, "scorer")[1].endswith("each request runs as a whole: max_batch_size is 0")


def test_without_a_config_the_shapes_are_those_of_the_graph(models, start):
    """Triton would complete the configuration to dims [1], with a reshape to []."""
    tensors = [[(name, TensorProto.FLOAT, ["rows"])] for name in "xy"]
    write_graph(models, "negative", [helper.make_node("Neg", ["x"], ["y"])], *tensors)
    service = start(models)
    metadata = service.client.get("/v2/models/negative").json()
    assert [each["shape"] for each in (*metadata["inputs"], *metadata["outputs"])] == [[-1], [-1]]
    for shape, status in (([2], 200), ([2, 1], 400)):
        document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": [1, 2]}]}
        reply = service.client.post("/v2/models/negative/infer", json=document)
        assert reply.status_code == status
        if status == 200:
            assert (reply.json()["outputs"][0]["shape"], reply.json()["outputs"][0]["data"]) == ([2], [-1, -2])


def test_clients_see_the_dims_and_the_graph_gets_them_reshaped(models, start):
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Unsqueeze", ["x", "axes"], ["z"])]
    write_graph(
        models,
        "double",
        nodes,
        [("x", TensorProto.INT32, ["rows"])],
        [("y", TensorProto.INT32, ["rows"]), ("z", TensorProto.INT32, ["rows", 1, 1])],
        {"axes": np.array([1, 2], np.int64)},
    )
    (models / "double" / "config.pbtxt").write_text(
        """
        max_batch_size: 8
        input { name: "x" data_type: TYPE_INT32 dims: 1 reshape { shape: [ ] } }
        output { name: "z" data_type: TYPE_INT32 dims: 1 reshape { shape: [ 1, 1 ] } }
        output { name: "y" data_type: TYPE_INT32 dims: 1 reshape { shape: [ ] } }
        """
    )
    service = start(models)
    metadata = service.client.get("/v2/models/double").json()
    assert [each["shape"] for each in (*metadata["inputs"], *metadata["outputs"])] == [[-1, 1]] * 3
    document = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [3, 1], "data": [1, 2, 3]}]}
    outputs = service.client.post("/v2/models/double/infer", json=document).json()["outputs"]
    assert [(each["name"], each["shape"], each["data"]) for each in outputs] == [
        ("z", [3, 1], [1, 2, 3]),
        ("y", [3, 1], [2, 4, 6]),
    ]


def test_outputs_that_are_not_stated_are_not_answered(models, start):
    write_graph(
        models,
        "two",
        [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["z"])],
        [("x", TensorProto.FLOAT, ["rows", 1])],
        [("y", TensorProto.FLOAT, ["rows", 1]), ("z", TensorProto.FLOAT, ["rows", 1])],
    )
    config = 'max_batch_size: 8 output { name: "z" data_type: TYPE_FP32 dims: 1 }'
    (models / "two" / "config.pbtxt").write_text(config)
    reply = start(models).client.post("/v1/models/two:predict", json={"instances": [[-1.0], [2.0]]})
    assert reply.json() == {"predictions": [[1.0], [2.0]]}


def test_what_has_no_effect_is_reported_in_one_line(models, start):
    more = with_batching("preferred_batch_size: [ 2, 4 ] preserve_ordering: true") + 'parameters { key: "a" value { } }'
    write_scorer(models, more + "\nversion_policy { all { } }", versions=(1, 2, 3))
    service = start(models)
    service.wait_for_log("ready: 1 of 1 models serve")
    service.wait_for_log(
        "model scorer: config.pbtxt states without effect: parameters.a, dynamic_batching.preferred_batch_size, "
        "dynamic_batching.preserve_ordering"
    )
    assert service.log.count("states without effect") == 1


def test_what_has_no_effect_is_reported_again_for_another_file(models, start):
    write_scorer(models, with_batching("preserve_ordering: true"), versions=(1, 2))
    service = start(models)
    service.wait_for_log("states without effect: dynamic_batching.preserve_ordering")
    (models / "scorer" / "config.pbtxt").write_text(with_batching("preferred_batch_size: 2"))
    service.wait_for_log("states without effect: dynamic_batching.preferred_batch_size")
    assert service.log.count("states without effect") == 2


def test_an_ensemble_without_files_is_refused_with_the_reason(models, start):
    write_scorer(models)
    (models / "chain" / "1").mkdir(parents=True)
    (models / "chain" / "config.pbtxt").write_text('platform: "ensemble"\nensemble_scheduling { }')
    assert "platform 'ensemble' is not run here" in reason(start(models), "chain")[1]


def test_directories_without_a_version_are_in_the_log(models, start):
    write_scorer(models)
    (models / "script" / "1").mkdir(parents=True)
    (models / "script" / "1" / "model.py").touch()
    (models / "named" / "v1").mkdir(parents=True)
    (models / "named" / "v1" / "saved_model.pb").touch()
    service = start(models)
    service.wait_for_log(
        "not served, because they have no version: named, script; ", also="a directory named by a whole number"
    )


MISTAKES = {
    "a field that does not exist": ("max_batch_sise: 4", 'has no field named "max_batch_sise"'),
    "another name": ('name: "other"', "name is 'other', and the directory 'scorer'; the two must be the same"),
    "another platform": ('platform: "tensorrt_plan"', "platform 'tensorrt_plan' is not run here"),
    "another backend": ('backend: "python"', "backend 'python' is not run here; onnxruntime and tensorflow are"),
    "an ensemble": ("ensemble_scheduling { }", "ensemble_scheduling is not supported"),
    "sequences": ("sequence_batching { }", "sequence_batching is not supported"),
    "a cache": ("response_cache { enable: true }", "response_cache is not supported"),
    "several replies": ("model_transaction_policy { decoupled: true }", "decoupled is not supported"),
    "ragged batches": (
        'input { name: "x" data_type: TYPE_FP32 dims: [ 3 ] allow_ragged_batch: true }',
        "allow_ragged_batch of 'x' is not supported",
    ),
    "another shape": (
        'input { name: "x" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape: { shape: [ 3 ] } }',
        "reshape of 'x' from [2, 2] to [3] does not keep the number of elements",
    ),
    "an unknown input": ('input { name: "y" data_type: TYPE_FP32 dims: [ 3 ] }', "input 'y' is not in the graph"),
    "another type": (
        'input { name: "x" data_type: TYPE_INT64 dims: [ 3 ] }',
        "input 'x' is stated as TYPE_INT64; in the graph it is float32",
    ),
    "other dims": (
        'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }',
        "input 'x' is stated with dims [4]; in the graph its shape is [-1, 3], with the batch",
    ),
    "many dims": (
        f'input {{ name: "x" data_type: TYPE_FP32 dims: {[2**63 - 1] * 1000} reshape: {{ shape: [ 3 ] }} }}',
        "dims of 'x' has 1000 dimensions; at most 8 are served",
    ),
    "a type without a name": (
        'input { name: "x" data_type: 999 dims: [ 3 ] }',
        "input.data_type is 999; one of TYPE_INVALID, TYPE_BOOL",
    ),
    "labels with a NUL in their name": (
        r'output { name: "scores" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "a\000b" }',
        "is not next to config.pbtxt",
    ),
    "a name of a file that is too long": (
        f'default_model_filename: "{"a" * 300}"',
        "File name too long",
    ),
    "fewer labels than scores": (
        'output { name: "scores" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "two.txt" }',
        "2 labels require a float32 output of shape (2,), but 'scores' is float32 (3,)",
    ),
    "one label": (
        'output { name: "scores" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "one.txt" }',
        "label_filename of 'scores' has 1 labels; 2 to 131072 are accepted",
    ),
    "no labels": (
        'output { name: "scores" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "none.txt" }',
        "none.txt: No such file or directory",
    ),
    "labels elsewhere": (
        'output { name: "scores" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "../labels.txt" }',
        "label_filename '../labels.txt' is not next to config.pbtxt",
    ),
    "a negative size": ("max_batch_size: -1", "max_batch_size is -1"),
    "versions that do not exist": (
        "version_policy { specific { versions: [ 7 ] } }",
        "version_policy.specific of model 'scorer' names none of the versions in the repository: 1",
    ),
    "a delay out of range": (
        "dynamic_batching { max_queue_delay_microseconds: 99999999999 }",
        "batching.max_queue_delay_us is 99999999999",
    ),
    "a file that is not there": (
        'default_model_filename: "net.onnx"',
        "1: default_model_filename is 'net.onnx', which is not in the version",
    ),
    "a file out of the version": (
        'default_model_filename: "../model.onnx"',
        "default_model_filename is '../model.onnx'; name a file or directory inside the version",
    ),
    "a platform of another backend": (
        'platform: "tensorflow_savedmodel" backend: "onnxruntime"',
        "platform 'tensorflow_savedmodel' and backend 'onnxruntime' do not fit together",
    ),
    "a platform that the version has no files for": (
        'platform: "tensorflow_savedmodel"',
        "backend is 'savedmodel', and the version has model.onnx alone",
    ),
    "not text": ("\udcff", "invalid start byte"),
}


def test_every_mistake_is_named_and_the_other_models_serve(models, start):
    for index, (text, _) in enumerate(MISTAKES.values()):
        name = f"scorer{index}"
        write_scorer(models, name=name)
        text = text.replace("'scorer'", f"'{name}'")
        size = "" if "max_batch_size" in text else "max_batch_size: 4\n"
        (models / name / "config.pbtxt").write_bytes((size + text).encode(errors="surrogateescape"))
    write_scorer(models)
    service = start(models, wait_ready=False)
    wait_until(lambda: reason(service, "scorer")[0] == "READY")
    for index, (kind, (_, message)) in enumerate(MISTAKES.items()):
        state, why = reason(service, f"scorer{index}")
        assert state == "UNAVAILABLE", kind
        assert message.replace("'scorer'", f"'scorer{index}'") in why, kind


def test_a_fixed_first_dimension_cannot_be_the_batch(models, start):
    write_scorer(models, sizes=(1, 3))
    service = start(models, wait_ready=False)
    wait_until(lambda: "first dimension of 'x' does not vary" in reason(service, "scorer")[1])


def test_a_change_is_followed(models, start):
    write_scorer(models, versions=(1, 2))
    service = start(models)
    config = models / "scorer" / "config.pbtxt"

    def largest():
        return service.client.get("/v2/models/scorer/config").json()["max_batch_size"]

    assert largest() == 4
    config.write_text(CONFIG.replace("max_batch_size: 4", "max_batch_size: 3"))
    wait_until(lambda: largest() == 3)
    config.write_text("nonsense")
    service.wait_for_log("nonsense")
    assert service.client.post("/v1/models/scorer:predict", json={"instances": [[1, 2, 3]]}).status_code == 200
    config.write_text(f"{CONFIG} version_policy {{ all {{ }} }}")
    path = "/v1/models/scorer/versions/1:predict"
    wait_until(lambda: service.client.post(path, json={"instances": [[1, 2, 3]]}).status_code == 200)


def test_next_to_a_version_of_our_own_it_is_an_export_and_not_read(models, start):
    write_brightness_model(models)
    (models / "brightness" / "config.pbtxt").write_text("nonsense")
    assert reason(start(models), "brightness") == ("READY", "")


def test_a_timeout_that_only_delays_is_named_as_without_effect(models, start):
    queue = "default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 1500 }"
    write_scorer(models, with_batching(queue))
    service = start(models)
    service.wait_for_log(
        "model scorer: config.pbtxt states without effect: "
        "dynamic_batching.default_queue_policy.default_timeout_microseconds, which requires REJECT, "
        "dynamic_batching.default_queue_policy.timeout_action: DELAY"
    )
    dynamic = service.client.get("/v2/models/scorer/config").json()["dynamic_batching"]
    assert dynamic["default_queue_policy"]["default_timeout_microseconds"] == 30_000_000


def test_the_default_model_filename_is_followed_inside_the_version(models, start):
    write_scorer(models, f'{CONFIG} default_model_filename: "graphs/net.onnx"')
    (models / "scorer" / "1" / "graphs").mkdir()
    (models / "scorer" / "1" / "model.onnx").rename(models / "scorer" / "1" / "graphs" / "net.onnx")
    service = start(models)
    assert service.client.post("/v1/models/scorer:predict", json={"instances": [[1, 2, 3]]}).status_code == 200


def test_a_default_model_filename_behind_a_link_out_of_the_version_is_refused(models, tmp_path, start):
    write_scorer(models, f'{CONFIG} default_model_filename: "net.onnx"')
    (models / "scorer" / "1" / "model.onnx").rename(tmp_path / "net.onnx")
    (models / "scorer" / "1" / "net.onnx").symlink_to(tmp_path / "net.onnx")
    service = start(models, wait_ready=False)
    wait_until(lambda: "net.onnx is a link to a directory, or leads out of the version" in reason(service, "scorer")[1])


def warmup(inputs, name="first"):
    return f'model_warmup {{ name: "{name}" batch_size: 1 inputs: {{ {inputs} }} }}'


X_RANDOM = 'key: "x" value: { data_type: TYPE_INT64 dims: 2 random_data: true }'
X_ZERO = 'key: "x" value: { data_type: TYPE_INT64 dims: 2 zero_data: true }'
X_FILE = 'key: "x" value: { data_type: TYPE_INT64 dims: 2 input_data_file: "rows.bin" }'


def write_picker(models, stated, *, name="picker"):
    """The sum of two places of a table of 1000 numbers from 500 on: no generated input is a place."""
    write_graph(
        models,
        name,
        [
            helper.make_node("Sub", ["x", "first"], ["place"]),
            helper.make_node("Gather", ["table", "place"], ["found"]),
            helper.make_node("ReduceSum", ["found", "axis"], ["y"], keepdims=0),
        ],
        [("x", TensorProto.INT64, ["rows", 2])],
        [("y", TensorProto.FLOAT, ["rows"])],
        {
            "first": np.int64(500),
            "table": np.arange(100, dtype=np.float32),
            "axis": np.array([1], np.int64),
        },
    )
    (models / name / "warmup").mkdir()
    (models / name / "warmup" / "rows.bin").write_bytes(np.array([510, 520], np.int64).tobytes())
    (models / name / "config.pbtxt").write_text(f'name: "{name}" max_batch_size: 8 {stated}')


def test_samples_of_warmup_take_the_place_of_generated_inputs(models, start):
    write_picker(models, warmup(X_FILE), name="with")
    write_picker(models, "", name="without")
    service = start(models)
    agrees = "unverified: it has no golden samples; its batches agree with single instances"
    assert reason(service, "with") == ("READY", agrees)
    assert "no generated input runs" in reason(service, "without")[1]
    reply = service.client.post("/v1/models/with:predict", json={"instances": [[500, 501], [502, 503]]})
    assert reply.json() == {"predictions": [1, 5]}


@pytest.mark.parametrize("sample", ["zero_data: true", "random_data: true"])
def test_samples_of_zeros_and_of_random_values(models, start, sample):
    write_scorer(models, CONFIG + warmup(f'key: "x" value: {{ data_type: TYPE_FP32 dims: 3 {sample} }}'))
    service = start(models)
    assert reason(service, "scorer")[1].endswith("its batches agree with single instances")
    assert "without effect" not in service.log


BAD_WARMUPS = {
    "values that do not run": (warmup(X_ZERO), "the graph does not run with the samples of model_warmup: "),
    "another name": (warmup(X_RANDOM.replace('"x"', '"z"')), "model_warmup has the inputs ['z'], and the model ['x']"),
    "another type": (warmup(X_ZERO.replace("INT64", "FP32")), "model_warmup has float32 of shape (2,) for 'x'"),
    "other dims": (warmup(X_ZERO.replace("dims: 2", "dims: 3")), "model_warmup has int64 of shape (3,) for 'x'"),
    "more dims than NumPy has": (
        warmup(X_ZERO.replace("dims: 2", f"dims: {[1] * 100}")),
        "dims of 'x' in model_warmup 'first' has 100 dimensions; at most 8 are served",
    ),
    "a type without a name": (warmup(X_ZERO.replace("TYPE_INT64", "77")), "model_warmup.inputs.data_type is 77"),
    "a file with a NUL in its name": (warmup(X_FILE.replace("rows", r"ro\000ws")), "; name a file in warmup/"),
    "no size": (warmup(X_ZERO.replace("dims: 2", "dims: -1")), "input 'x' has dims [-1]; each is at least 1"),
    "too large": (warmup(X_ZERO.replace("dims: 2", "dims: 60000000")), "480000000 bytes; at most 67108864"),
    "too large together": (
        "model_warmup { "
        + "".join(
            f'inputs {{ key: "x{at}" value {{ data_type: TYPE_INT8 dims: 67108864 random_data: true }} }} '
            for at in range(8)
        )
        + "}",
        "model_warmup '' has 536870912 bytes; samples have at most 67108864 bytes",
    ),
    "too many strings": (
        warmup(X_RANDOM.replace("INT64 dims: 2", "STRING dims: 1000000")),
        "1000000 strings; samples have at most 67108864 bytes and 262144 strings",
    ),
    "nothing stated": (
        warmup(X_ZERO.replace("zero_data: true", "")),
        "state zero_data, random_data or input_data_file",
    ),
    "no inputs": ('model_warmup { name: "first" }', "model_warmup 'first' has no inputs"),
    "no file": (warmup(X_FILE.replace("rows", "none")), "warmup/none.bin: No such file or directory"),
    "a file elsewhere": (warmup(X_FILE.replace("rows", "../rows")), "input_data_file is '../rows.bin'; name a file in"),
    "a file of another size": (
        warmup(X_FILE.replace("dims: 2", "dims: [ 2, 2 ]")),
        "rows.bin has 16 bytes; dims [2, 2] of int64 are 32",
    ),
    "a file without strings": (
        warmup(X_FILE.replace("INT64", "STRING")),
        "rows.bin does not hold 2 strings, each with its length in front",
    ),
    "a type that is not served": (
        warmup(X_ZERO.replace("INT64", "INVALID")),
        "input 'x' is a TYPE_INVALID; tensors of",
    ),
}


def test_bad_samples_are_named_and_the_other_models_serve(models, start):
    for index, (stated, _) in enumerate(BAD_WARMUPS.values()):
        write_picker(models, stated, name=f"picker{index}")
    write_scorer(models)
    service = start(models, wait_ready=False)
    service.wait_for_log("models serve")
    assert reason(service, "scorer")[0] == "READY"
    for index, (kind, (_, message)) in enumerate(BAD_WARMUPS.items()):
        state, why = reason(service, f"picker{index}")
        assert state == "UNAVAILABLE", kind
        assert message in why, kind


def test_samples_of_strings_come_from_files_with_lengths(models, start):
    write_graph(
        models,
        "names",
        [helper.make_node("Identity", ["text"], ["same"])],
        [("text", TensorProto.STRING, ["rows", 1])],
        [("same", TensorProto.STRING, ["rows", 1])],
        opset=19,
    )
    (models / "names" / "warmup").mkdir()
    (models / "names" / "warmup" / "text").write_bytes(b"\x05\0\0\0hello")
    sample = warmup('key: "text" value: { data_type: TYPE_STRING dims: 1 input_data_file: "text" }')
    (models / "names" / "config.pbtxt").write_text(f"max_batch_size: 4 {sample}")
    assert reason(start(models), "names")[1].endswith("its batches agree with single instances")


def test_tritons_grpc_client_keeps_working(models, start_grpc):
    write_scorer(
        models,
        with_batching("max_queue_delay_microseconds: 100")
        + warmup('key: "x" value: { data_type: TYPE_FP32 dims: 3 random_data: true }'),
        versions=(1, 2),
    )
    service = start_grpc(models)
    client = service.triton
    assert client.is_model_ready("scorer", "2")
    config = client.get_model_config("scorer").config
    assert (config.max_batch_size, list(config.input[0].dims), config.platform) == (4, [3], "onnxruntime_onnx")
    metadata = client.get_model_metadata("scorer")
    assert [(each.name, list(each.shape)) for each in metadata.inputs] == [("x", [-1, 3])]
    rows = np.array([[1, 2, 3], [5, 0, 0]], np.float32)
    given = triton_grpc.InferInput("x", [2, 3], "FP32")
    given.set_data_from_numpy(rows)
    found = client.infer("scorer", [given]).as_numpy("scores")
    np.testing.assert_allclose(found, 2 * np.exp(rows) / np.exp(rows).sum(1, keepdims=True), rtol=1e-5)
    best = client.infer("scorer", [given], outputs=[triton_grpc.InferRequestedOutput("scores", class_count=1)])
    assert [text.decode().split(":")[-1] for text in best.as_numpy("scores").ravel()] == ["high", "low"]
    index = client.get_model_repository_index()
    assert {(each.name, each.version, each.state) for each in index.models} >= {("scorer", "2", "READY")}
