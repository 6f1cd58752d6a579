"""Every element type, over every protocol, at the ends of its range."""

import json

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import deserialize_bytes_tensor

from app.contract.dtypes import NAMES, numpy_dtype
from app.contract.strings import encoded
from tests.support.dtype_rows import ROWS
from tests.support.grpc_service import GrpcService
from tests.support.service import running
from tests.support.tiny_models import write_types_model

CONTENTS = {
    "bool": "bool_contents",
    "int8": "int_contents",
    "int16": "int_contents",
    "int32": "int_contents",
    "int64": "int64_contents",
    "uint8": "uint_contents",
    "uint16": "uint_contents",
    "uint32": "uint_contents",
    "uint64": "uint64_contents",
    "float32": "fp32_contents",
    "float64": "fp64_contents",
    "string": "bytes_contents",
}


PATH = "/v1/models/types:predict"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    models = tmp_path_factory.mktemp("types")
    write_types_model(models)
    write_types_model(models, name="typed", types=CONTENTS)
    yield from running(GrpcService(models))


def equal(found):
    """Whether every output is its input, element by element, in its own type."""
    for dtype, values in ROWS.items():
        if dtype == "string":  # the client gives strings in JSON as texts
            found["out_string"] = encoded(found["out_string"])
        assert found[f"out_{dtype}"].dtype == numpy_dtype(dtype)
        assert np.array_equal(found[f"out_{dtype}"], values), dtype
    return True


def test_metadata_names_every_type(service):
    metadata = service.client.get("/v2/models/types").json()
    assert {tensor["name"][3:]: tensor["datatype"] for tensor in metadata["inputs"]} == {
        dtype: NAMES[dtype].oip for dtype in ROWS
    }
    signature = service.client.get("/v1/models/types/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert {name[4:]: tensor["dtype"] for name, tensor in signature["serving_default"]["outputs"].items()} == {
        dtype: NAMES[dtype].tensorflow for dtype in ROWS
    }
    config = service.triton.get_model_config("types", as_json=True)["config"]
    assert {tensor["name"][3:]: tensor["data_type"] for tensor in config["input"]} == {
        dtype: NAMES[dtype].triton for dtype in ROWS
    }


def listed(values):
    """Nested lists as JSON has them."""
    return np.vectorize(bytes.decode, otypes="O")(values).tolist() if values.dtype == object else values.tolist()


@pytest.mark.parametrize("form", ["inputs", "instances"])
def test_v1_json(service, form):
    columns = {f"in_{dtype}": listed(values) for dtype, values in ROWS.items()}
    rows = [{name: values[row] for name, values in columns.items()} for row in range(2)]
    reply = service.client.post(PATH, json={form: columns if form == "inputs" else rows})
    assert reply.status_code == 200, reply.text
    answer = reply.json()["outputs" if form == "inputs" else "predictions"]
    if form == "instances":
        answer = {name: [row[name] for row in answer] for name in answer[0]}
    strings = answer.pop("out_string")
    assert strings == columns["in_string"]
    assert equal({"out_string": ROWS["string"], **{name: np.array(each, name[4:]) for name, each in answer.items()}})


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("gives_binary", [True, False])
def test_v2_json_and_binary(service, is_binary, gives_binary):
    client = triton_http.InferenceServerClient(service.url.removeprefix("http://"))
    inputs, outputs = [], []
    for dtype, values in ROWS.items():
        tensor = triton_http.InferInput(f"in_{dtype}", values.shape, NAMES[dtype].oip)
        tensor.set_data_from_numpy(values, binary_data=is_binary or dtype == "float16")  # JSON has no FP16
        inputs.append(tensor)
        outputs.append(triton_http.InferRequestedOutput(f"out_{dtype}", binary_data=gives_binary))
    result = client.infer("types", inputs, outputs=outputs)
    assert equal({f"out_{dtype}": result.as_numpy(f"out_{dtype}") for dtype in ROWS})
    client.close()


def test_grpc_raw(service):
    inputs = []
    for dtype, values in ROWS.items():
        tensor = triton_grpc.InferInput(f"in_{dtype}", values.shape, NAMES[dtype].oip)
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    result = service.triton.infer("types", inputs)
    assert equal({f"out_{dtype}": result.as_numpy(f"out_{dtype}") for dtype in ROWS})


def test_grpc_contents(service):
    """All but FP16, which has no field."""
    request = pb.ModelInferRequest(model_name="typed")
    for dtype, field in CONTENTS.items():
        tensor = request.inputs.add(name=f"in_{dtype}", datatype=NAMES[dtype].oip, shape=ROWS[dtype].shape)
        getattr(tensor.contents, field).extend(ROWS[dtype].reshape(-1).tolist())
    reply = service.stub.ModelInfer(request)
    for output, raw in zip(reply.outputs, reply.raw_output_contents, strict=True):
        dtype = output.name[4:]
        found = deserialize_bytes_tensor(raw) if dtype == "string" else np.frombuffer(raw, dtype)
        assert np.array_equal(found.reshape(output.shape), ROWS[dtype])
    assert len(reply.outputs) == len(CONTENTS)


@pytest.mark.parametrize(
    ("dtype", "value", "error"),
    [
        ("bool", 2, "value 2 at [1] is outside 0 to 1"),
        ("bool", 0.5, "value 0.5 at [1] is not a whole number"),
        ("int8", 128, "value 128 at [1] is outside -128 to 127"),
        ("uint16", -1, "value -1 at [1] is outside 0 to 65535"),
        ("uint32", 2**32, "value 4294967296 at [1] is outside 0 to 4294967295"),
        ("int64", 2**63, "value 9223372036854775808 at [1] is outside -9223372036854775808 to 9223372036854775807"),
        ("int64", 2.0**63, "value 9.22337e+18 at [1] is outside -9223372036854775808 to 9223372036854775807"),
        ("uint64", 2.0**64, "value 1.84467e+19 at [1] is outside 0 to 18446744073709551615"),
        ("uint64", -1, "value -1 at [1] is outside 0 to 18446744073709551615"),
        ("int32", True, "is true; expected a number"),
        ("float16", 1e5, "value 100000 at [1] is outside -65504 to 65504"),
        ("float64", "1e400", "the number 1e400 is too big for 64 bits"),
        ("int64", 2**64, "value 1.84467e+19 at [1] is outside -9223372036854775808 to 9223372036854775807"),
        ("int64", 10**400, "holds an integer that does not fit 64 bits"),
        ("uint64", "1.5", "value 1.5 at [1] is not a whole number"),
    ],
)
def test_a_number_that_the_type_cannot_represent_is_refused(service, dtype, value, error):
    columns = {f"in_{each}": listed(values) for each, values in ROWS.items()}
    columns[f"in_{dtype}"] = [[0, 1], [1, "HERE"]]
    document = json.dumps({"inputs": columns}).replace('"HERE"', value if isinstance(value, str) else json.dumps(value))
    reply = service.client.post(PATH, content=document)
    assert reply.status_code == 400
    assert error in reply.json()["error"]


def test_true_and_false_are_not_numbers(service):
    columns = {f"in_{each}": listed(values) for each, values in ROWS.items()}
    columns["in_int32"] = [[True, False], [True, False]]
    reply = service.client.post(PATH, json={"inputs": columns})
    assert reply.json() == {"error": "instance 0 of 'in_int32': value True at [0] is not a number"}


def test_zero_and_one_are_true_and_false(service):
    columns = {f"in_{each}": listed(values) for each, values in ROWS.items()}
    columns["in_bool"] = [[0, 1], [1, 1]]
    assert service.client.post(PATH, json={"inputs": columns}).json()["outputs"]["out_bool"] == ROWS["bool"].tolist()


@pytest.mark.parametrize(("dtype", "sent"), [("int64", "INT32"), ("float64", "FP32"), ("uint32", "UINT8")])
def test_a_narrower_type_of_the_same_kind_is_accepted(service, dtype, sent):
    request = pb.ModelInferRequest(model_name="typed")
    for each, field in CONTENTS.items():
        values = [b""] * 4 if each == "string" else [0, 1, 1, 0]
        datatype = sent if each == dtype else NAMES[each].oip
        tensor = request.inputs.add(name=f"in_{each}", datatype=datatype, shape=[2, 2])
        field = CONTENTS[{"INT32": "int32", "FP32": "float32", "UINT8": "uint8"}[sent]] if each == dtype else field
        getattr(tensor.contents, field).extend(values)
    reply = service.stub.ModelInfer(request)
    [position] = [index for index, output in enumerate(reply.outputs) if output.name == f"out_{dtype}"]
    assert np.frombuffer(reply.raw_output_contents[position], dtype).tolist() == [0, 1, 1, 0]
