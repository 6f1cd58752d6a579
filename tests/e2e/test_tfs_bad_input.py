"""Invalid requests of TensorFlow Serving's protocol: the error names the rule, and the next request is answered."""

import numpy as np
import pytest

from app.edge.grpc.tfs import serving_pb2 as pb
from tests.support.bare_models import write_names_model
from tests.support.memory import reset_peak, resident_mb
from tests.support.service import running, start_fixture
from tests.support.tfs import (
    CLASSIFY,
    PREDICTION,
    REGRESS,
    example,
    examples,
    model_spec,
    numbers,
    predict_request,
    refusal,
    shaped,
)
from tests.support.tfs_service import TfsService
from tests.support.tiny_inputs import PIXELS, expected
from tests.support.tiny_models import (
    SIDE,
    write_brightness_model,
    write_rule_model,
    write_types_model,
    write_words_model,
)

INVALID = "INVALID_ARGUMENT"
SHAPE = (1, SIDE, SIDE)
GOOD = shaped("DT_UINT8", SHAPE, tensor_content=bytes(16))


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    models = tmp_path_factory.mktemp("tfs-bad")
    write_brightness_model(models)
    write_words_model(models)
    write_rule_model(models)
    write_types_model(models, name="two", types=["float32", "int8"])
    write_names_model(models)
    yield from running(TfsService(models, "--log-level", "debug"))


@pytest.fixture
def client(service):
    yield service.tfs
    reply = service.tfs.predict({"pixels": PIXELS})  # the service still answers after the request of a test
    np.testing.assert_allclose(numbers(reply.outputs["probabilities"]), expected(PIXELS), atol=1e-6)


start = start_fixture(TfsService)


def test_an_unknown_model_version_or_label(client):
    """The message is TensorFlow Serving's: some clients compare the whole sentence."""
    assert refusal(client.predict, {"pixels": GOOD}, "nope") == (
        "NOT_FOUND",
        "Servable not found for request: Latest(nope)",
    )
    assert refusal(client.predict, {"pixels": GOOD}, version=7) == (
        "NOT_FOUND",
        "Servable not found for request: Specific(brightness, 7)",
    )
    assert refusal(client.predict, {"pixels": GOOD}, label="next") == (
        INVALID,
        "Unrecognized servable version label: next",
    )


@pytest.mark.parametrize("version", [-1, -(2**63)])
def test_a_version_that_no_directory_can_have(client, version):
    assert refusal(client.predict, {"pixels": GOOD}, version=version) == (
        INVALID,
        f"'{version}' is not a version; write a whole number from 0 to 9223372036854775807, without leading zeros",
    )


def test_metadata_and_status_of_missing_models(client):
    def metadata(**spec):
        return refusal(
            client.GetModelMetadata,
            pb.GetModelMetadataRequest(model_spec=model_spec(**spec), metadata_field=["signature_def"]),
        )

    def status(**spec):
        return refusal(client.GetModelStatus, pb.GetModelStatusRequest(model_spec=model_spec(**spec)))

    label = (INVALID, "Unrecognized servable version label: next")
    assert metadata(model="nope") == ("NOT_FOUND", "Servable not found for request: Latest(nope)")
    assert metadata(version=7) == ("NOT_FOUND", "Servable not found for request: Specific(brightness, 7)")
    assert metadata(label="next") == status(label="next") == label
    assert status(model="nope") == ("NOT_FOUND", "Could not find any versions of model nope")
    assert status(version=7) == ("NOT_FOUND", "Could not find version 7 of model brightness; known versions: 1")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["signature_def", "graph"], "Metadata field graph is not supported"),
    ],
)
def test_metadata_fields(client, fields, error):
    request = pb.GetModelMetadataRequest(model_spec=model_spec(), metadata_field=fields)
    assert refusal(client.GetModelMetadata, request) == (INVALID, error)


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("Predict", pb.PredictRequest),
        ("Classify", pb.ClassificationRequest),
        ("Regress", pb.RegressionRequest),
        ("GetModelMetadata", pb.GetModelMetadataRequest),
        ("GetModelStatus", pb.GetModelStatusRequest),
    ],
)
def test_a_request_without_a_model(client, method, request_type):
    call = getattr(client, method)
    assert refusal(call, request_type()) == (INVALID, "Missing ModelSpec")
    assert refusal(call, request_type(model_spec=pb.ModelSpec())) == (INVALID, "ModelSpec has no name specified.")


def test_an_unknown_signature(client):
    assert refusal(client.predict, {"pixels": GOOD}, signature="other") == (
        INVALID,
        'Serving signature key "other" not found.',
    )
    spec, sent = model_spec(signature="other"), examples(example(pixels=[0] * 16))
    for call, request in ((client.Classify, pb.ClassificationRequest), (client.Regress, pb.RegressionRequest)):
        assert refusal(call, request(model_spec=spec, input=sent)) == (
            INVALID,
            "No signature was found with the name: other",
        )


@pytest.mark.parametrize(
    ("inputs", "model", "error"),
    [
        (
            {},
            "brightness",
            "input size does not match signature: 0!=1 len({}) != len({pixels}). Sent extra: {}. Missing but "
            "required: {pixels}.",
        ),
        (
            {"pixels": GOOD, "more": GOOD},
            "brightness",
            "input size does not match signature: 2!=1 len({more,pixels}) != len({pixels}). Sent extra: {more}. "
            "Missing but required: {}.",
        ),
        (
            {"picture": GOOD},
            "brightness",
            "input tensor alias not found in signature: picture. Inputs expected to be in the set {pixels}.",
        ),
        (
            {"pixels": GOOD, "image": GOOD},
            "brightness",
            "input size does not match signature: 2!=1 len({image,pixels}) != len({pixels}). Sent extra: {}. Missing "
            "but required: {}.",
        ),
        (
            {"in_int8": shaped("DT_INT8", (1, 2))},
            "two",
            "input size does not match signature: 1!=2 len({in_int8}) != len({in_float32,in_int8}). Sent extra: {}. "
            "Missing but required: {in_float32}.",
        ),
        (
            {"in_int8": shaped("DT_INT8", (1, 2)), "in_float32": shaped("DT_FLOAT", (2, 2))},
            "two",
            None,
        ),
    ],
)
def test_missing_extra_and_misnamed_inputs(client, inputs, model, error):
    code, found = refusal(client.predict, inputs, model)
    assert code == INVALID
    assert found == (error or "inputs differ in their number of instances: {'in_float32': 2, 'in_int8': 1}")


def test_thousands_of_inputs_are_refused_before_they_are_parsed(client):
    code, found = refusal(client.predict, {f"input {number}": GOOD for number in range(8_000)})
    assert code == INVALID
    assert found.endswith("more than 16384 fields; at most 16384 are accepted")
    assert refusal(client.predict, {f"input {number}": GOOD for number in range(65)}) == (
        INVALID,
        "inputs: 65 entries; at most 64 are accepted",
    )


@pytest.mark.parametrize(
    ("proto", "error"),
    [
        (shaped("DT_FLOAT", SHAPE), "input 'pixels' has dtype DT_FLOAT; model 'brightness' expects DT_UINT8"),
        (shaped("DT_INVALID", SHAPE), "input 'pixels' has dtype DT_INVALID, which no model takes; send DT_UINT8"),
        (shaped("DT_COMPLEX64", SHAPE), "input 'pixels' has dtype DT_COMPLEX64, which no model takes; send DT_UINT8"),
        (pb.TensorProto(dtype=104), "input 'pixels' has dtype 104, which no model takes; send DT_UINT8"),
        (
            shaped("DT_UINT8", (1, 3, 4), tensor_content=bytes(12)),
            "unexpected shape for input 'pixels' for model 'brightness'. Expected [-1,4,4], got [1,3,4]",
        ),
        (
            pb.TensorProto(dtype=pb.DT_UINT8, tensor_content=bytes(16)),
            "unexpected shape for input 'pixels' for model 'brightness'. Expected [-1,4,4], got []",
        ),
        (
            shaped("DT_UINT8", (-1, 4, 4), tensor_content=bytes(16)),
            "input 'pixels' has shape [-1, 4, 4]; send a list of whole numbers from 0",
        ),
        (
            pb.TensorProto(dtype=pb.DT_UINT8, tensor_shape=pb.TensorShapeProto(unknown_rank=True)),
            "input 'pixels' has a shape of unknown rank; send its sizes",
        ),
        (
            shaped("DT_UINT8", (1,) * 65),
            "input 'pixels' has a shape of 65 dimensions; at most 64 are accepted",
        ),
        (
            shaped("DT_UINT8", (2**62, 4, 4)),
            f"input 'pixels' has shape [{2**62}, 4, 4]; at most {2**40} elements are accepted",
        ),
        (shaped("DT_UINT8", (0, 4, 4)), "'pixels' holds no instance; send at least one"),
        (
            shaped("DT_UINT8", SHAPE, tensor_content=bytes(15)),
            "tensor_content of input 'pixels' has 15 bytes; its shape [1, 4, 4] has 16",
        ),
        (
            shaped("DT_UINT8", SHAPE, int_val=[1] * 17),
            "int_val of input 'pixels' holds 17 values; its shape [1, 4, 4] has 16",
        ),
        (
            shaped("DT_UINT8", SHAPE, float_val=[1] * 16),
            "input 'pixels' of dtype DT_UINT8 has float_val; send int_val or tensor_content",
        ),
        (
            shaped("DT_UINT8", SHAPE, tensor_content=bytes(16), float_val=[1]),
            "input 'pixels' of dtype DT_UINT8 has float_val; send int_val or tensor_content",
        ),
        (
            shaped("DT_UINT8", SHAPE, tensor_content=bytes(16), int_val=[1]),
            "input 'pixels' has both tensor_content and int_val; send one of them",
        ),
        (
            shaped("DT_UINT8", SHAPE, int_val=[1, 256]),
            "int_val[1] of input 'pixels' is 256; it is outside 0 to 255",
        ),
        (
            shaped("DT_UINT8", SHAPE, int_val=[-1]),
            "int_val[0] of input 'pixels' is -1; it is outside 0 to 255",
        ),
    ],
)
def test_a_tensor_that_breaks_a_rule(client, proto, error):
    assert refusal(client.predict, {"pixels": proto}) == (INVALID, error)


@pytest.mark.parametrize("value", [-1, 65_536, 2**31 - 1])
@pytest.mark.parametrize("dtype", ["DT_HALF", "DT_BFLOAT16"])
def test_bits_of_half_precision_out_of_range(client, dtype, value):
    assert refusal(client.predict, {"x": shaped(dtype, (1, 1), half_val=[value])}, "rule") == (
        INVALID,
        f"half_val[0] of input 'x' is {value}; it is outside 0 to 65535",
    )


def test_numbers_that_are_not_finite(client):
    for proto in (
        shaped("DT_FLOAT", (1, 1), float_val=[float("nan")]),
        shaped("DT_HALF", (1, 1), half_val=[0x7E00]),
        shaped("DT_BFLOAT16", (1, 1), half_val=[0x7FC0]),
    ):
        assert refusal(client.predict, {"x": proto}, "rule") == (
            INVALID,
            "instance 0 of 'x': value nan at [0] is not a finite number",
        )


def test_few_values_that_would_become_gigabytes(service, client):
    reset_peak(service)
    before = resident_mb(service)
    code, found = refusal(client.predict, {"x": shaped("DT_FLOAT", (2**39, 1), float_val=[1])}, "rule")
    assert (code, found.split(";")[0]) == (
        INVALID,
        f"input 'x' states few of its elements, and all of them take {4 * 2**39} bytes",
    )
    code, found = refusal(client.predict, {"x": shaped("DT_FLOAT", (2**39, 1))}, "rule")
    assert code == INVALID
    texts = shaped("DT_STRING", (200_000,), string_val=[bytes(100_000)])
    code, found = refusal(client.predict, {"text": texts}, "names")
    assert code == INVALID
    assert "states few of its elements" in found
    assert resident_mb(service, "VmHWM") - before < 60


def test_strings(client):
    assert refusal(client.predict, {"text": shaped("DT_STRING", (2**20,))}, "names") == (
        INVALID,
        f"input 'text' holds {2**20} strings; at most {2**18} are accepted",
    )
    code, found = refusal(client.predict, {"text": shaped("DT_STRING", (2,), string_val=[b"a", b"\xff"])}, "names")
    assert (code, found) == (INVALID, "instance 1 of 'text': the string is not UTF-8: invalid start byte at byte 0")
    code, found = refusal(client.predict, {"text": shaped("DT_STRING", (1,), string_val=[b"caf\xe9"])}, "words")
    assert code == INVALID
    assert "not UTF-8" in found or "UTF-8" in found
    code, found = refusal(client.predict, {"text": shaped("DT_STRING", (1,))}, "words")
    assert (code, found) == (INVALID, "input 'token_ids', element 0: text is empty; send at least one word")
    code, found = refusal(client.predict, {"text": shaped("DT_STRING", (0,))}, "words")
    assert (code, found) == (INVALID, "input 'token_ids' holds no instance; send at least one")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\x01", "ends in the lengths of its 2 strings"),
        (b"\x80" * 12, "ends in the lengths of its 2 strings"),
        (b"\x01\x01a", "announces 2 bytes of strings, 1 follow"),
        (b"\x01\x01abc", "announces 2 bytes of strings, 3 follow"),
    ],
)
def test_strings_in_tensor_content_that_do_not_add_up(client, content, error):
    proto = shaped("DT_STRING", (2,), tensor_content=content)
    assert refusal(client.predict, {"text": proto}, "names") == (
        INVALID,
        f"tensor_content of input 'text' {error}",
    )


def test_an_output_that_is_unknown_or_named_twice(client):
    assert refusal(client.predict, {"pixels": GOOD}, outputs=["scores"]) == (
        INVALID,
        "output tensor alias not found in signature: scores Outputs expected to be in the set {probabilities}.",
    )
    assert refusal(client.predict, {"pixels": GOOD}, outputs=["probabilities"] * 2) == (
        INVALID,
        "duplicate output tensor alias: probabilities",
    )


TAKES = "model 'brightness' takes 'image' ({\"b64\": ...}) or 'pixels' (uint8 of shape (4, 4))"


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (pb.Input(), "Input is empty; send example_list with at least one Example"),
        (examples(), "Input is empty; send example_list with at least one Example"),
        (examples(context=example(pixels=[0] * 16)), "Input is empty; send example_list with at least one Example"),
        (examples(example()), f"examples[0] has no key 'pixels'; {TAKES}"),
        (examples(pb.Example()), f"examples[0] has no key 'pixels'; {TAKES}"),
        (examples(example(picture=[0] * 16)), f"examples[0] has the unknown key 'picture'; {TAKES}"),
        (
            examples(example(pixels=[0] * 16), example()),
            "examples[1] has the keys [], examples[0] has ['pixels']; all must have the same",
        ),
        (
            examples(example(pixels=[0] * 16, image=[b"x"])),
            "examples[0] names the same input twice: ['image', 'pixels']; send one of them",
        ),
        (
            examples(example(pixels=pb.Feature())),
            "examples[0].pixels has no values; send int64_list or float_list or bytes_list for 'pixels' (uint8 of "
            "shape (4, 4))",
        ),
        (
            examples(example(pixels=pb.Feature(int64_list=pb.Int64List()))),
            "examples[0].pixels has 0 values; expected uint8 of shape (4, 4)",
        ),
        (examples(example(pixels=[0] * 15)), "examples[0].pixels has 15 values; expected uint8 of shape (4, 4)"),
        (
            examples(example(pixels=[0] * 16), example(pixels=[b"x"])),
            "examples[1].pixels has bytes_list; send int64_list or float_list or bytes_list for 'pixels' (uint8 of "
            "shape (4, 4))",
        ),
        (
            examples(example(image=[b"x"]), example(image=[0] * 16)),
            "examples[1].image has 0 values in bytes_list; send one text or image in each Example",
        ),
        (
            examples(example(image=[b"x", b"y"])),
            "examples[0].image has 2 values in bytes_list; send one text or image in each Example",
        ),
        (examples(example(pixels=[256] * 16)), "instance 0 of 'pixels': value 256 at [0, 0] is outside 0 to 255"),
        (
            examples(example(pixels=[0.5] * 16)),
            "instance 0 of 'pixels': value 0.5 at [0, 0] is not a whole number; send 0-255, scaling is inside the "
            "model",
        ),
    ],
)
def test_an_example_that_breaks_a_rule(client, sent, error):
    request = pb.ClassificationRequest(model_spec=model_spec(), input=sent)
    assert refusal(client.Classify, request) == (INVALID, error)


def test_examples_that_are_not_a_valid_image_or_text(client):
    request = pb.ClassificationRequest(model_spec=model_spec(), input=examples(example(image=[b"no image"])))
    code, found = refusal(client.Classify, request)
    assert code == INVALID
    assert found.startswith("examples[0].image: ")
    request = pb.ClassificationRequest(model_spec=model_spec("words"), input=examples(example(text=[b"caf\xe9"])))
    code, found = refusal(client.Classify, request)
    assert code == INVALID
    assert found.startswith("examples[0].text: ")
    assert "UTF-8" in found


def test_numbers_where_an_input_takes_strings_and_the_other_way_round(client):
    request = pb.RegressionRequest(model_spec=model_spec("rule"), input=examples(example(x=[b"1"])))
    assert refusal(client.Regress, request) == (
        INVALID,
        "examples[0].x has bytes_list; send int64_list or float_list for 'x' (float32 of shape (1,))",
    )


def test_examples_of_different_lengths(client):
    sent = examples(example(token_ids=[2]), example(token_ids=[2, 3]))
    request = pb.ClassificationRequest(model_spec=model_spec("words"), input=sent)
    assert refusal(client.Classify, request) == (
        INVALID,
        "examples[1].token_ids has 2 values, examples[0].token_ids has 1; all rows must share one shape",
    )


def test_verbs_that_a_model_does_not_support_are_refused(client):
    sent = examples(example(x=[1.0]))
    assert refusal(client.Classify, pb.ClassificationRequest(model_spec=model_spec("rule"), input=sent)) == (
        INVALID,
        "model 'rule' does not classify; use :predict",
    )
    sent = examples(example(pixels=[0] * 16))
    assert refusal(client.Regress, pb.RegressionRequest(model_spec=model_spec(), input=sent)) == (
        INVALID,
        "model 'brightness' does not answer with one number per instance; use :classify",
    )


def tasks(*each, sent=None):
    request = pb.MultiInferenceRequest(input=sent or examples(example(pixels=[0] * 16)))
    for spec, method in each:
        request.tasks.add(model_spec=spec, method_name=method)
    return request


@pytest.mark.parametrize(
    ("request_", "code", "error"),
    [
        (tasks(), INVALID, "the request has 0 tasks; send 1 to 16"),
        (tasks(*[(model_spec(), CLASSIFY)] * 17), INVALID, "the request has 17 tasks; send 1 to 16"),
        (tasks((pb.ModelSpec(), CLASSIFY)), INVALID, "Found ModelSpec with an empty model name."),
        (
            tasks((model_spec(), CLASSIFY), (model_spec("rule"), REGRESS)),
            INVALID,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            tasks((model_spec(), CLASSIFY), (model_spec(version=1), CLASSIFY)),
            INVALID,
            "All ModelSpecs in a MultiInferenceRequest must access the same model version.",
        ),
        (
            tasks((model_spec(), CLASSIFY), (model_spec(signature="serving_default"), REGRESS)),
            INVALID,
            "Duplicate evaluation of signature: serving_default",
        ),
        (
            tasks((model_spec(signature="other"), CLASSIFY)),
            INVALID,
            "Requested signature not found in model graph: other",
        ),
        (
            tasks((model_spec(), "tensorflow/serving/predict")),
            "UNIMPLEMENTED",
            f"Unsupported signature method_name: tensorflow/serving/predict; use {CLASSIFY} or {REGRESS}",
        ),
        (tasks((model_spec("nope"), CLASSIFY)), "NOT_FOUND", "Servable not found for request: Latest(nope)"),
    ],
)
def test_tasks_that_break_a_rule(client, request_, code, error):
    assert refusal(client.MultiInference, request_) == (code, error)


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"])
def test_bytes_that_are_not_a_message(service, client, method):
    path = f"/{PREDICTION}/{method}"
    for data in (b"\xff" * 1000, b"\xff" * 5000, b"\x0a\x03\x0a\x01\xff"):  # the last: a name that is not UTF-8
        assert refusal(service.channel.unary_unary(path), data) == (
            INVALID,
            f"the request of {path} is not a message of that method: its bytes cannot be read",
        )


def test_a_message_over_the_limit(service, client):
    request = predict_request({"pixels": shaped("DT_UINT8", SHAPE, tensor_content=bytes(17 * 2**20))})
    code, found = refusal_without_id(service.tfs.Predict, request)
    assert code == "RESOURCE_EXHAUSTED"
    assert found.endswith("vs. 16777216)")


def refusal_without_id(call, request):
    done = call.future(request)
    return done.code().name, done.details()


def nested(*path, content):
    """A message of one field in another: the numbers of the fields, and the innermost content."""
    for number in reversed(path):
        length = len(content)
        size = bytearray()
        while length > 0x7F:
            size.append(length & 0x7F | 0x80)
            length >>= 7
        size.append(length)
        content = bytes([number << 3 | 2]) + bytes(size) + content
    return content


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("Predict", (), b"\x12\x00"),  # inputs
        ("Predict", (2, 2, 2), b"\x12\x00"),  # sizes of a tensor's shape
        ("Predict", (2, 2), b"\x42\x00"),  # strings of a tensor
        ("Predict", (), b"\x1a\x00"),  # output_filter
        ("Classify", (2, 1), b"\x0a\x00"),  # Examples
        ("Classify", (2, 1, 1, 1), b"\x0a\x00"),  # features of an Example
        ("Regress", (2, 1, 1, 1, 1, 2, 1), b"\x0a\x00"),  # strings of a feature
        ("MultiInference", (), b"\x0a\x00"),  # tasks
        ("GetModelMetadata", (), b"\x12\x00"),  # metadata_field
    ],
)
def test_megabytes_of_empty_fields_are_refused_before_they_are_parsed(service, client, method, path, field):
    call = service.channel.unary_unary(f"/{PREDICTION}/{method}")
    reset_peak(service)
    before = resident_mb(service)
    code, found = refusal(call, nested(*path, content=field * 4_000_000))
    assert code == INVALID
    assert found.endswith("more than 16384 fields; at most 16384 are accepted")
    assert resident_mb(service, "VmHWM") - before < 100


def test_more_rows_than_fit_into_the_queue(tmp_path, start):
    directory = write_brightness_model(tmp_path)
    (directory.parent / "serving.json").write_text('{"batching": {"max_queue_rows": 4}}')
    code, found = refusal(start(tmp_path).tfs.predict, {"pixels": PIXELS})
    assert code == INVALID
    assert found.startswith("request holds 5 instances")
