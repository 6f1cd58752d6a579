import pytest
from tritonclient.grpc import service_pb2 as pb

from app.edge.grpc.wire_size import MOST_FIELDS, MOST_TEXT_BYTES, SMALL_BYTES, FieldLimit, check_fields, parts_of
from app.errors import InvalidInput

EMPTY = b"\x2a\x00"  # field 5, no bytes
FIELDS = {
    "bytes": b"\x3a\xe8\x07" + bytes(1_000),  # field 7, 1,000 bytes: none of them is a field
    "a number": b"\x08\xff\xff\x03",
    "eight bytes": b"\x09" + bytes(8),
    "four bytes": b"\x0d" + bytes(4),
}
FILL = b"\x3a\x80\x80\x04" + bytes(65_536)  # makes a message large


def test_a_small_message_may_contain_any_fields():
    check_fields(EMPTY * (SMALL_BYTES // 2))


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_the_maximum_number_of_fields_is_accepted_and_one_more_is_refused(field):
    most = FILL + field * (MOST_FIELDS - 1)
    check_fields(most)
    with pytest.raises(
        InvalidInput, match=f"the message has {len(most + field)} bytes and more than {MOST_FIELDS} fie"
    ):
        check_fields(most + field)


@pytest.mark.parametrize("more", [0, 1])
def test_the_fields_of_a_tensor_count_too(more):
    parameters = (MOST_FIELDS - 2 + more) * b"\x22\x00"
    size = len(parameters)
    tensor = b"\x2a" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + parameters
    check_fields(FILL + tensor)
    if more:
        with pytest.raises(InvalidInput, match="fields"):
            check_fields(FILL + tensor, FieldLimit({5: {}}))
    else:
        check_fields(FILL + tensor, FieldLimit({5: {}}))


@pytest.mark.parametrize("more", [0, 1])
def test_fields_count_down_to_the_depth_limit(more):
    inner = b"\x12\x00" * (4 + more)
    message = FILL + b"\x12" + bytes([len(inner) + 2]) + b"\x12" + bytes([len(inner)]) + inner  # 2 in 2 in 2
    check_fields(message, FieldLimit({2: {}}, most=3))
    limit = FieldLimit({2: {2: {}}}, most=7)  # the filling, the two around it, and four within
    if more:
        with pytest.raises(InvalidInput, match="more than 7 fields; at most 7 are accepted"):
            check_fields(message, limit)
    else:
        check_fields(message, limit)


@pytest.mark.parametrize(
    "end",
    [
        b"\x0b\x08\x01\x0c",  # a group
        b"\x0f",  # no kind of field
        b"\x80" * 11,  # a number without end
        b"\x2a",  # a length is missing
    ],
)
def test_bytes_that_are_not_a_message_are_not_counted(end):
    with pytest.raises(ValueError, match=r"field of kind|does not end"):
        check_fields(FILL + end)
    check_fields(end)


def test_a_field_longer_than_the_message_is_left_to_the_parser():
    check_fields(FILL + b"\x3a\xe8\x07")


INFER = FieldLimit(parts_of(pb.ModelInferRequest.DESCRIPTOR))


@pytest.mark.parametrize(
    ("kind", "size"), [("int64_contents", 8), ("uint64_contents", 8), ("int_contents", 4), ("uint_contents", 4)]
)
def test_packed_numbers_count_as_in_memory(kind, size):
    numbers = [0, 1, 127, 128, 300, 2**31 - 1] * SMALL_BYTES
    message = pb.ModelInferRequest()
    getattr(message.inputs.add().contents, kind).extend(numbers)
    data, nbytes = message.SerializeToString(), size * len(numbers)
    check_fields(data, INFER, nbytes)
    with pytest.raises(InvalidInput, match=f"have {nbytes} bytes; at most {nbytes - 1} bytes"):
        check_fields(data, INFER, nbytes - 1)


def test_packed_bools_count_four_bytes_each():
    message = pb.ModelInferRequest()
    message.inputs.add().contents.bool_contents.extend([True] * SMALL_BYTES)
    check_fields(message.SerializeToString(), INFER, 4 * SMALL_BYTES)
    with pytest.raises(InvalidInput, match=f"have {4 * SMALL_BYTES} bytes"):
        check_fields(message.SerializeToString(), INFER, 4 * SMALL_BYTES - 1)


@pytest.mark.parametrize("place", ["model_name", "id", "an input's name", "the key of a parameter", "a parameter"])
def test_a_long_text_is_refused_in_every_field(place):
    for more in (0, 1):
        text, message = "n" * (MOST_TEXT_BYTES + more), pb.ModelInferRequest()
        if place in {"model_name", "id"}:
            setattr(message, place, text)
        elif place == "an input's name":
            message.inputs.add(name=text)
        elif place == "a parameter":
            message.parameters["key"].string_param = text
        else:
            message.inputs.add().parameters[text].bool_param = True
        if more:
            with pytest.raises(InvalidInput, match=f"text of the message has {MOST_TEXT_BYTES + 1} bytes; at most"):
                check_fields(message.SerializeToString(), INFER)
        else:
            check_fields(message.SerializeToString(), INFER)


def test_bytes_for_a_model_are_not_text():
    message = pb.ModelInferRequest()
    message.inputs.add().contents.bytes_contents.append(b"n" * (MOST_TEXT_BYTES + 1))
    check_fields(message.SerializeToString(), INFER)


def test_other_content_does_not_count():
    message = pb.ModelInferRequest(model_name="n" * SMALL_BYTES, raw_input_contents=[bytes(100)])
    message.inputs.add().contents.fp32_contents.extend([1.0] * 100)
    message.inputs.add().contents.bytes_contents.extend([b"x"] * 100)
    check_fields(message.SerializeToString(), INFER, 0)


def test_numbers_of_parts_whose_fields_are_not_limited_are_not_looked_for():
    """Else a walk over them would have no end."""
    message = pb.ModelInferRequest()
    message.inputs.add().contents.int64_contents.extend([1] * SMALL_BYTES)
    check_fields(message.SerializeToString(), FieldLimit(), 0)
