"""Every bad input is answered with the value and the rule it breaks, and does not affect others."""

import base64
import gzip
import json
import threading
import time
import zlib

import numpy as np
import pytest

from tests.support.http_requests import refused
from tests.support.images import png, png_header

GOOD = [[10, 20, 30, 40]] * 4
OCTETS = {"content-type": "application/octet-stream"}
PNG = {"content-type": "image/png"}
TEXT = {"content-type": "text/plain"}


BRIGHTNESS_KEYS = "model 'brightness' takes 'image' ({\"b64\": ...}) or 'pixels' (uint8 of shape (4, 4))"
WORDS_KEYS = "model 'words' takes 'text' (a string) or 'token_ids' (a list of int32)"
SEND_BRIGHTNESS = (
    "model 'brightness' takes an image (image/png, image/jpeg, ...) or JSON (application/json) with "
    "'image' ({\"b64\": ...}) or 'pixels' (uint8 of shape (4, 4))"
)
SEND_WORDS = (
    "model 'words' takes text (text/plain) or JSON (application/json) with "
    "'text' (a string) or 'token_ids' (a list of int32)"
)
SEND_FRAGILE = "model 'fragile' takes JSON (application/json) with 'index' (one int32)"
NO_VERSION = "is not a version; write a whole number from 0 to 9223372036854775807, without leading zeros"


def predict(client, document, model="brightness", code=400):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return refused(client, f"/v1/models/{model}:predict", content=body, code=code)


def with_pixel(value):
    return {"instances": [GOOD, [[1, 2, 3, 4]] * 3 + [[1, 2, value, 4]]]}


def test_wrong_nesting_names_the_place(tiny):
    error = predict(tiny, {"instances": [[[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, [4]]]]})
    assert error == "instances[0][3][3] is an array; expected a number"


def test_too_shallow_nesting_names_both_shapes(tiny):
    error = predict(tiny, {"instances": [[1, 2, 3, 4]]})
    assert error == "an instance of 'pixels' has shape (4,); expected uint8 of shape (4, 4)"


def test_token_ids_nested_too_deep_are_refused_with_the_expected_shape(tiny):
    error = predict(tiny, {"instances": [[[1, 2]]]}, "words")
    assert error == "an instance of 'token_ids' has shape (1, 2); expected a list of int32"


def test_ragged_rows_name_the_odd_one(tiny):
    error = predict(tiny, {"instances": [GOOD, [[1, 2, 3, 4]] * 3 + [[1, 2, 3]]]})
    assert error == "instances[1][3] has 3 values, instances[0][0] has 4; all rows must share one shape"


def test_wrong_shape_names_both_shapes(tiny):
    error = predict(tiny, {"instances": [[[1, 2, 3]] * 3]})
    assert error == "an instance of 'pixels' has shape (3, 3); expected uint8 of shape (4, 4)"


@pytest.mark.parametrize("body", [{"instances": [1, 2]}, {"instances": [{"text": 5}]}])
def test_a_bare_number_as_an_instance_is_refused_with_the_expected_form(tiny, body):
    assert predict(tiny, body, "words") == "an instance of 'token_ids' is one number; expected a list of int32"


def test_a_bare_number_as_a_column_is_refused(tiny):
    error = predict(tiny, {"inputs": {"text": 5}}, "words")
    assert error == "'token_ids' is one number; send a list with one value per instance"


@pytest.mark.parametrize(
    ("rows", "place"), [([["a film"]], "instances[0]"), ([{"text": ["a", "b"]}], "instances.text[0]")]
)
def test_a_text_in_one_array_too_many_is_refused(tiny, rows, place):
    assert predict(tiny, {"instances": rows}, "words") == f"{place} is an array; {WORDS_KEYS}"


def test_numbers_as_strings_are_named_where_the_first_of_them_is(tiny):
    rows = [[["10", "20", "30", "40"]] * 4]
    assert predict(tiny, {"instances": rows}) == f"instances[0][0][0] is a string; {BRIGHTNESS_KEYS}"


def test_an_image_in_one_array_too_many_is_refused(tiny):
    assert predict(tiny, {"instances": [[{"b64": "AA=="}]]}) == f"instances[0] is an array; {BRIGHTNESS_KEYS}"


def test_text_for_an_image_model_names_the_keys(tiny):
    assert predict(tiny, {"instances": ["not an image"]}) == f"instances[0] is a string; {BRIGHTNESS_KEYS}"


def test_text_for_a_model_of_tensors_names_its_input(tiny):
    error = predict(tiny, {"instances": ["three"]}, "fragile")
    assert error == "model 'fragile' takes neither images nor text; it takes tensors: 'index' (one int32)"


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), (True, "true"), (False, "false"), ("7", "a string"), ({"b64": ""}, "an object"), ([], "an array")],
)
def test_a_pixel_that_is_not_a_number_is_named(tiny, value, kind):
    assert predict(tiny, with_pixel(value)) == f"instances[1][3][2] is {kind}; expected a number"


def test_a_pixel_of_300_is_out_of_range(tiny):
    assert predict(tiny, with_pixel(300)) == "instance 1 of 'pixels': value 300 at [3, 2] is outside 0 to 255"


def test_a_negative_pixel_is_out_of_range(tiny):
    assert predict(tiny, with_pixel(-1)) == "instance 1 of 'pixels': value -1 at [3, 2] is outside 0 to 255"


def test_a_fractional_pixel_gets_the_cure(tiny):
    error = predict(tiny, with_pixel(0.5))
    assert error == (
        "instance 1 of 'pixels': value 0.5 at [3, 2] is not a whole number; send 0-255, scaling is inside the model"
    )


def test_a_token_id_beyond_the_vocabulary_is_out_of_range(tiny):
    error = predict(tiny, {"instances": [[1, 2, 5]]}, "words")
    assert error == "instance 0 of 'token_ids': value 5 at [2] is outside 0 to 4"


def test_more_tokens_than_the_model_reads_are_refused(tiny):
    error = predict(tiny, {"instances": [[1] * 17]}, "words")
    assert error == "instances of 'token_ids' have 17 token ids; at most 16 are accepted"


def test_padding_before_a_token_is_refused(tiny):
    error = predict(tiny, {"instances": [[1, 2, 3], [1, 0, 3]]}, "words")
    assert error == "instance 1 of 'token_ids' has padding (id 0) before its last token"


def test_a_row_of_padding_is_refused(tiny):
    error = predict(tiny, {"instances": [[1, 2, 3], [0, 0, 0]]}, "words")
    assert error == "instance 1 of 'token_ids' holds only padding (id 0)"


def test_nan_is_not_a_finite_number(tiny):
    error = predict(tiny, b'{"instances": [[[1,2,3,4],[1,2,3,4],[1,2,3,4],[1,2,3,NaN]]]}')
    assert error == "instance 0 of 'pixels': value nan at [3, 3] is not a finite number"


def test_infinity_is_not_a_finite_number(tiny):
    error = predict(tiny, b'{"instances": [[[1,2,3,4],[1,2,3,4],[1,2,3,4],[1,2,3,-Infinity]]]}')
    assert error == "instance 0 of 'pixels': value -inf at [3, 3] is not a finite number"


def test_an_integer_of_a_hundred_digits_is_out_of_range(tiny):
    error = predict(tiny, b'{"instances": [[[1,2,3,4],[1,2,3,4],[1,2,3,4],[1,2,3,' + b"9" * 100 + b"]]]}")
    assert "is outside 0 to 255" in error


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"instances": []}, "'instances' is empty; send at least one instance"),
        ({"inputs": []}, "'token_ids' holds no instance; send at least one"),
        ({"instances": [[]]}, "an instance of 'token_ids' is empty; send at least one value"),
    ],
)
def test_empty_instances_are_refused(tiny, body, error):
    assert predict(tiny, body, "words") == error


@pytest.mark.parametrize("value", [GOOD, "boot.png", {"b64": "***"}])
def test_an_unknown_key_of_a_row_lists_the_known_ones(tiny, value):
    error = predict(tiny, {"instances": [{"picture": value}]})
    assert error == f"instances[0] has the unknown key 'picture'; {BRIGHTNESS_KEYS}"


@pytest.mark.parametrize(("model", "keys"), [("words", WORDS_KEYS), ("brightness", BRIGHTNESS_KEYS)])
@pytest.mark.parametrize("value", [1, "a good film", None])
def test_an_unknown_key_of_an_example_lists_the_known_ones(tiny, model, keys, value):
    body = json.dumps({"examples": [{"foo": value}]})
    error = refused(tiny, f"/v1/models/{model}:classify", content=body)
    assert error == f"examples[0] has the unknown key 'foo'; {keys}"


def test_an_example_without_any_key_lists_the_known_ones(tiny):
    error = refused(tiny, "/v1/models/words:classify", json={"examples": [{}]})
    assert error == f"examples[0] has no key 'token_ids'; {WORDS_KEYS}"


def test_an_input_under_both_of_its_names_is_refused(tiny):
    error = predict(tiny, {"instances": [{"text": "good", "token_ids": [2]}]}, "words")
    assert error == "instances[0] names the same input twice: ['text', 'token_ids']; send one of them"


def test_a_missing_named_input_is_named(tiny):
    error = predict(tiny, {"inputs": {"picture": [GOOD]}})
    assert error == f"Missing named input: pixels in 'inputs' object; {BRIGHTNESS_KEYS}"


def test_rows_with_different_keys_are_refused(tiny):
    error = predict(tiny, {"instances": [{"pixels": GOOD}, {"image": GOOD}]})
    assert error == "instances[1] has the keys ['image'], instances[0] has ['pixels']; all must have the same"


@pytest.mark.parametrize(
    ("examples", "error"),
    [
        ("good", "'examples' is a string; send a list of objects {key: value}, texts or {\"b64\": ...}"),
        ([], "'examples' is empty; send at least one of objects {key: value}, texts or {\"b64\": ...}"),
        (["good", 3], 'examples[1] is a number; send objects {key: value}, texts or {"b64": ...}'),
        (["good", {"text": "bad"}], "'examples' holds objects {key: value} and bare values; send all in one form"),
    ],
)
def test_examples_of_the_wrong_form_are_refused(tiny, examples, error):
    assert refused(tiny, "/v1/models/words:classify", json={"examples": examples}) == error


def test_both_instances_and_inputs_are_refused(tiny):
    assert "only one" in predict(tiny, {"instances": [GOOD], "inputs": [GOOD]})


def test_neither_instances_nor_inputs_is_refused(tiny):
    assert predict(tiny, {"pixels": [GOOD]}) == (
        "Missing 'inputs' or 'instances' key; send {\"instances\": [value, ...]}"
    )


@pytest.mark.parametrize(
    ("value", "kind"), [("a sentence", "a string"), (5, "a number"), (None, "null"), ({"a": 1}, "an object")]
)
def test_instances_that_are_not_a_list_are_refused(tiny, value, kind):
    assert predict(tiny, {"instances": value}) == f"'instances' is {kind}; send a list with one value per instance"


def test_another_signature_is_refused(tiny):
    error = predict(tiny, {"signature_name": "train", "instances": [GOOD]})
    assert error == "signature 'train' does not exist; the model has 'serving_default'"


def test_bad_base64_is_named(tiny):
    error = predict(tiny, {"instances": [{"b64": "***"}]})
    assert error.startswith("instances[0]: 'b64' is not valid base64: ")


def test_base64_of_no_image_is_refused_and_names_the_row(tiny):
    rows = [{"b64": base64.b64encode(data).decode()} for data in (png(np.zeros((4, 4), np.uint8)), b"hello")]
    assert (
        predict(tiny, {"instances": rows}) == "instances[1]: 5 bytes are not a PNG, JPEG, GIF, BMP, WEBP or TIFF image"
    )


def test_an_empty_text_in_json_names_the_row(tiny):
    error = predict(tiny, {"instances": ["good", " "]}, "words")
    assert error == "instances[1]: text is empty; send at least one word"


@pytest.mark.parametrize("rows", [["a film", 3], ["a film", [1, 2]], [[1, 2], "a film"]])
def test_a_mix_of_numbers_and_texts_is_refused(tiny, rows):
    index = 0 if isinstance(rows[0], list) else 1
    kind = "a number" if rows[index] == 3 else "an array"
    assert predict(tiny, {"instances": rows}, "words") == f"instances[{index}] is {kind}; {WORDS_KEYS}"


@pytest.mark.parametrize("start", ["", "\n  "])
def test_a_body_that_is_not_json_names_the_offset(tiny, start):
    body = f'{start}{{"instances": [1, 2'.encode()
    assert predict(tiny, body) == f"JSON Parse error: Expecting ',' delimiter at offset: {len(body)}"


def test_a_json_body_that_is_not_utf8_names_the_offset(tiny):
    assert predict(tiny, b'{"instances": ["\xff"]}') == "JSON Parse error: body is not UTF-8 at offset: 16"


def test_a_json_document_that_is_not_an_object_is_refused(tiny):
    assert predict(tiny, b"[1, 2]") == "the JSON document is an array; send an object {key: value}"


def test_json_nested_ten_thousand_deep_is_refused(tiny):
    error = predict(tiny, b'{"instances": ' + b"[" * 10_000 + b"]" * 10_000 + b"}")
    assert error == "JSON Parse error: arrays or objects are nested too deep; at most 64 levels are read"


def test_an_integer_of_five_thousand_digits_is_refused(tiny):
    error = predict(tiny, b'{"instances": [' + b"9" * 5_000 + b"]}")
    assert error == "JSON Parse error: an integer has too many digits"


@pytest.mark.parametrize("headers", [PNG, {}])
def test_a_body_that_is_not_an_image_lists_the_formats(tiny, headers):
    error = refused(tiny, "/v1/models/brightness:classify", content=b"hello", headers=headers)
    assert error == f"5 bytes are not a PNG, JPEG, GIF, BMP, WEBP or TIFF image; {SEND_BRIGHTNESS}"


def test_a_truncated_image_is_refused(tiny):
    whole = png(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    error = refused(tiny, "/v1/models/brightness:classify", content=whole[: len(whole) // 2], headers=PNG)
    assert error.startswith("image is truncated or damaged")


def test_an_image_above_the_pixel_limit_is_refused_from_its_header(tiny):
    error = refused(tiny, "/v1/models/brightness:classify", content=png_header(60_000, 60_000), headers=PNG, code=413)
    assert error == "image has 60000x60000 pixels; at most 25000000 pixels are accepted"


def test_a_text_of_spaces_is_refused(tiny):
    error = refused(tiny, "/v1/models/words:classify", content=b"  \n ", headers=TEXT)
    assert error == "text is empty; send at least one word"


@pytest.mark.parametrize("headers", [{}, TEXT, PNG, OCTETS, {"content-type": "application/json"}])
@pytest.mark.parametrize(
    ("model", "send"), [("words", SEND_WORDS), ("brightness", SEND_BRIGHTNESS), ("fragile", SEND_FRAGILE)]
)
def test_an_empty_body_is_refused_with_the_accepted_formats(tiny, model, send, headers):
    assert refused(tiny, f"/v1/models/{model}:predict", content=b"", headers=headers) == f"body is empty; {send}"


def test_a_text_that_is_not_utf8_names_the_byte(tiny):
    error = refused(tiny, "/v1/models/words:classify", content=b"caf\xe9", headers=TEXT)
    assert error == f"4 bytes are not UTF-8 text: byte 3 is 0xe9; {SEND_WORDS}"


@pytest.mark.parametrize("headers", [{}, TEXT])
def test_an_image_as_text_is_refused_with_the_accepted_types(tiny, headers):
    image = png(np.zeros((4, 4), np.uint8))
    error = refused(tiny, "/v1/models/words:classify", content=image, headers=headers)
    assert error == f"{len(image)} bytes are not UTF-8 text: byte 0 is 0x89; {SEND_WORDS}"


def test_an_image_for_a_text_model_is_refused_with_the_accepted_types(tiny):
    error = refused(tiny, "/v1/models/words:classify", content=png(np.zeros((4, 4), np.uint8)), headers=PNG)
    assert error == f"the body was read as an image; {SEND_WORDS}"


def test_a_sentence_for_an_image_model_is_refused_with_the_accepted_types(tiny):
    error = refused(tiny, "/v1/models/brightness:classify", content=b"a good film", headers=TEXT)
    assert error == f"the body was read as text; {SEND_BRIGHTNESS}"


@pytest.mark.parametrize(("headers", "kind"), [({}, "text"), (TEXT, "text"), (PNG, "an image")])
def test_a_sentence_for_a_model_of_tensors_is_refused_with_the_accepted_types(tiny, headers, kind):
    error = refused(tiny, "/v1/models/fragile:predict", content=b"three", headers=headers)
    assert error == f"the body was read as {kind}; {SEND_FRAGILE}"


def test_a_form_with_a_bad_file_names_the_part(tiny):
    good = png(np.zeros((4, 4), np.uint8))
    files = [("image", ("a.png", good)), ("image", ("b.png", b"hello"))]
    error = refused(tiny, "/v1/models/brightness:classify", files=files)
    assert error == (
        f"part 2 of the form: 5 bytes are not a PNG, JPEG, GIF, BMP, WEBP or TIFF image; {SEND_BRIGHTNESS}"
    )


def test_an_unsupported_content_type_is_refused_with_the_supported_ones(tiny):
    error = refused(tiny, "/v1/models/words:classify", content=b"x", headers={"content-type": "application/pdf"})
    assert error == f"Content-Type 'application/pdf' is not read; {SEND_WORDS}"


def test_a_raw_tensor_of_the_wrong_size_names_the_row_size(tiny):
    error = refused(tiny, "/v1/models/brightness:predict", content=b"x" * 17, headers=OCTETS)
    assert error == (
        "body of 17 bytes is not a whole number of instances of 'pixels' (uint8 of shape (4, 4)), 16 bytes each"
    )


def test_a_raw_tensor_for_a_variable_input_is_refused(tiny):
    error = refused(tiny, "/v1/models/words:predict", content=b"x" * 16, headers=OCTETS)
    assert error == f"raw bytes (application/octet-stream) need one input of fixed shape; {SEND_WORDS}"


def test_a_truncated_form_is_refused(tiny):
    body = b'--cut\r\ncontent-disposition: form-data; name="a"; filename="a.png"\r\n\r\nabc'
    headers = {"content-type": "multipart/form-data; boundary=cut"}
    assert "truncated" in refused(tiny, "/v1/models/brightness:classify", content=body, headers=headers)


def test_a_form_without_a_boundary_is_refused(tiny):
    headers = {"content-type": "multipart/form-data"}
    assert "boundary" in refused(tiny, "/v1/models/brightness:classify", content=b"x", headers=headers)


def test_classifying_with_a_model_without_labels_is_refused(tiny):
    error = refused(tiny, "/v1/models/fragile:classify", content=b'{"examples": [{"index": 1}]}')
    assert error == "model 'fragile' does not classify; use :predict"


def test_a_top_k_above_the_number_of_labels_gets_all_of_them(tiny):
    reply = tiny.post("/v1/models/words:classify", params={"top_k": "99"}, content=b"good", headers=TEXT)
    assert reply.status_code == 200
    assert len(reply.json()["results"][0]) == 2


@pytest.mark.parametrize("top_k", ["0", "-1", "many", "1.5", "²"])
def test_a_top_k_below_one_is_refused(tiny, top_k):
    error = refused(tiny, "/v1/models/words:classify", params={"top_k": top_k}, content=b"good", headers=TEXT)
    assert error == f"top_k is {top_k!r}; send a whole number of at least 1"


def test_a_damaged_gzip_body_is_refused(tiny):
    headers = {"content-encoding": "gzip"}
    error = refused(tiny, "/v1/models/words:predict", content=b"nonsense", headers=headers)
    assert error == "body is not compressed as Content-Encoding says (gzip): incorrect header check"


def test_a_truncated_gzip_body_is_refused(tiny):
    headers = {"content-encoding": "gzip"}
    error = refused(tiny, "/v1/models/words:predict", content=gzip.compress(b"{}" * 99)[:-9], headers=headers)
    assert error == "body ends before its gzip data does; send all of it"


def test_bytes_after_compressed_data_are_refused(tiny):
    whole = b'{"instances": [1, 2, 3]}'
    for encoding, body in [("gzip", gzip.compress(whole)), ("deflate", zlib.compress(whole))]:
        for junk in (b"junk", b"\0", bytes(100), body[:9]):
            headers = {"content-encoding": encoding}
            refused(tiny, "/v1/models/fragile:predict", content=body + junk, headers=headers)
    error = refused(tiny, "/v1/models/fragile:predict", content=zlib.compress(whole) * 2, headers=headers)
    assert error == "body continues after the end of its deflate data; send nothing else"


def test_many_gzip_members_are_refused_before_they_take_long(tiny):
    headers = {"content-encoding": "gzip"}
    error = refused(tiny, "/v1/models/fragile:predict", content=gzip.compress(b"") * 500_000, headers=headers, code=413)
    assert error == "body has more than 4096 gzip members; at most 4096 are accepted"


def test_a_bomb_of_many_gzip_members_is_413(tiny):
    bomb = gzip.compress(b" " * 2**20) * 17
    error = refused(tiny, "/v1/models/words:predict", content=bomb, headers={"content-encoding": "gzip"}, code=413)
    assert error == f"body inflates to more than {16 * 2**20} bytes; at most {16 * 2**20} are accepted"


def test_an_unknown_content_encoding_is_refused(tiny):
    headers = {"content-encoding": "br"}
    assert "'br'" in refused(tiny, "/v1/models/words:predict", content=b"nonsense", headers=headers, code=501)


def test_an_unknown_model_lists_the_models(tiny):
    error = predict(tiny, {"instances": [1]}, "nope", code=404)
    assert error == "Request for unknown model: 'nope' is not found; models: brightness, fragile, words"


def test_an_unknown_version_lists_the_versions(tiny):
    error = refused(tiny, "/v1/models/words/versions/7:predict", content=b"{}", code=404)
    assert error == "Could not find version 7 of model words; known versions: 1"
    assert tiny.get("/v1/models/words/versions/7").json() == {"error": error}
    assert tiny.get("/v1/models/words/versions/7/metadata").json() == {"error": error}


@pytest.mark.parametrize("version", ["x", "first", "", "-1", "00", "01", "1.0", "1 ", "²", str(2**63), "9" * 400])
def test_an_invalid_version_number_is_named(tiny, version):
    error = refused(tiny, f"/v1/models/words/versions/{version}:predict", content=b"{}")
    assert error == f"{version!r} {NO_VERSION}"
    if version:
        reply = tiny.get(f"/v1/models/words/versions/{version}")
        assert (reply.status_code, reply.json()) == (400, {"error": error})


def test_get_on_an_inference_path_with_a_bad_version_is_405(tiny):
    assert tiny.get("/v1/models/words/versions/x:predict").status_code == 405


def test_an_unknown_label_is_not_found(tiny):
    error = refused(tiny, "/v1/models/words/labels/stable:predict", content=b"{}", code=404)
    assert error == "model 'words' has no label 'stable'; it has no labels: version_labels in serving.json sets them"


@pytest.mark.parametrize("path", ["/v1/models/words:guess", "/v1/models/words/versions/1:Guess"])
def test_an_unknown_verb_is_a_malformed_request_as_in_tensorflow_serving(tiny, path):
    error = refused(tiny, path, content=b"{}")
    assert error == f"Malformed request: POST {path}; use :predict or :classify or :regress or :explain"


def test_a_verb_of_v2_below_v1_is_answered_with_its_path(tiny):
    error = refused(tiny, "/v1/models/words:Generate", content=b"{}")
    assert error == "Malformed request: POST /v1/models/words:Generate; generate is at /v2/models/words/generate"


@pytest.mark.parametrize("path", ["/v1/models/words/versions", "/v1/x", "/v1/models/words/labels/"])
def test_an_unknown_path_below_v1_is_a_malformed_request(tiny, path):
    reply = tiny.get(path)
    assert (reply.status_code, reply.json()) == (
        400,
        {"error": f"Malformed request: GET {path}; GET /docs lists all routes"},
    )


def test_a_version_and_a_label_together_are_refused(tiny):
    path = "/v1/models/words/versions/1/labels/stable:predict"
    error = refused(tiny, path, content=b"{}")
    assert error == f"Malformed request: POST {path}; a version and a label cannot be supplied together"


def test_get_on_an_inference_path_is_405_and_names_post(tiny):
    reply = tiny.get("/v1/models/words:predict")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.json() == {"error": "Method Not Allowed; use POST"}


def test_post_on_a_status_path_is_405(tiny):
    reply = tiny.post("/v1/models/words")
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET")
    assert reply.json() == {
        "error": "Method Not Allowed; use GET, or POST to a path that ends in :predict, :classify, :regress or :explain"
    }
    assert tiny.post("/metrics").json() == {"error": "Method Not Allowed; use GET"}


def test_a_body_announced_above_the_limit_is_413(tiny):
    error = refused(tiny, "/v1/models/words:predict", content=b"x" * (16 * 2**20 + 1), code=413)
    assert error == f"body of {16 * 2**20 + 1} bytes; at most {16 * 2**20} are accepted"


def test_a_chunked_body_above_the_limit_is_413(tiny):
    chunks = (b"x" * 2**20 for _ in range(17))
    error = refused(tiny, "/v1/models/words:predict", content=chunks, code=413)
    assert error == f"body of more than {16 * 2**20} bytes; at most {16 * 2**20} are accepted"


def test_a_gzip_bomb_is_413(tiny):
    bomb = gzip.compress(b" " * (17 * 2**20))
    error = refused(tiny, "/v1/models/words:predict", content=bomb, headers={"content-encoding": "gzip"}, code=413)
    assert error == f"body inflates to more than {16 * 2**20} bytes; at most {16 * 2**20} are accepted"


def test_more_rows_than_fit_into_the_queue_are_413(tiny):
    error = refused(tiny, "/v1/models/brightness:predict", content=bytes(16 * 4097), headers=OCTETS, code=413)
    assert error.startswith("request holds 4097 instances")


def test_a_row_that_fails_in_the_backend_is_our_fault_and_names_the_runtime(tiny):
    assert "Gather" in predict(tiny, {"instances": [30]}, "fragile", code=500)


def test_a_huge_bad_body_does_not_delay_others(tiny):
    rows = ",".join(["[1,2,3]"] * 500_000 + ["[1,2]"])
    body = f'{{"instances": [{rows}]}}'.encode()
    took = []

    def send():
        start = time.monotonic()
        error = predict(tiny, body)
        took.append(time.monotonic() - start)
        assert error == "instances[500000] has 2 values, instances[0] has 3; all rows must share one shape"

    big = threading.Thread(target=send)
    big.start()
    waits = []
    while big.is_alive():
        start = time.monotonic()
        assert tiny.post("/v1/models/fragile:predict", json={"instances": [2]}).status_code == 200
        waits.append(time.monotonic() - start)
    big.join()
    # Decoded on the event loop, the large body would delay one of the small ones for most of its decoding time.
    assert max(waits) < took[0] / 2


def test_after_all_that_good_input_is_still_answered(tiny):
    assert tiny.post("/v1/models/brightness:predict", json={"instances": [GOOD]}).status_code == 200
