"""Every bad input is answered with the value and the rule it breaks, and harms nobody else."""

import base64
import json
import threading
import time

import numpy as np
import pytest

from tests.support.images import png, png_header

GOOD = [[10, 20, 30, 40]] * 4
OCTETS = {"content-type": "application/octet-stream"}
PNG = {"content-type": "image/png"}
TEXT = {"content-type": "text/plain"}


def refused(client, path, *, code=400, **body):
    reply = client.post(path, **body)
    assert reply.status_code == code, reply.text
    assert reply.headers["content-type"] == "application/json"
    assert reply.json().keys() == {"error"}
    return reply.json()["error"]


def predict(client, document, model="brightness", code=400):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return refused(client, f"/v1/models/{model}:predict", content=body, code=code)


def with_pixel(value):
    return {"instances": [GOOD, [[1, 2, 3, 4]] * 3 + [[1, 2, value, 4]]]}


def test_wrong_nesting_names_the_place(tiny):
    error = predict(tiny, {"instances": [[[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, [4]]]]})
    assert error == "instances[0][3][3] is an array; wanted a number, as deep as its neighbours"


def test_too_shallow_nesting_names_both_shapes(tiny):
    error = predict(tiny, {"instances": [[1, 2, 3, 4]]})
    assert error == "an instance of 'pixels' has shape (4,); the signature wants (4, 4)"


def test_ragged_rows_name_the_odd_one(tiny):
    error = predict(tiny, {"instances": [GOOD, [[1, 2, 3, 4]] * 3 + [[1, 2, 3]]]})
    assert error == "instances[1][3] has 3 values, instances[0][0] has 4; all rows must share one shape"


def test_wrong_shape_names_both_shapes(tiny):
    error = predict(tiny, {"instances": [[[1, 2, 3]] * 3]})
    assert error == "an instance of 'pixels' has shape (3, 3); the signature wants (4, 4)"


def test_text_for_an_image_model_is_the_wrong_dtype(tiny):
    error = predict(tiny, {"instances": ["not an image"]})
    assert error == "model 'brightness' takes no text; it takes images or tensors: 'pixels' uint8 (4, 4)"


@pytest.mark.parametrize(("value", "kind"), [(None, "null"), (True, "true"), (False, "false")])
def test_a_json_constant_is_no_number(tiny, value, kind):
    assert predict(tiny, with_pixel(value)) == (
        f"instances[1][3][2] is {kind}; wanted a number, as deep as its neighbours"
    )


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
        ({"instances": [[]]}, "an instance of 'token_ids' is empty (shape (0,))"),
    ],
)
def test_empty_instances_are_refused(tiny, body, error):
    assert predict(tiny, body, "words") == error


def test_an_unknown_input_name_lists_the_known_ones(tiny):
    error = predict(tiny, {"instances": [{"picture": GOOD}]})
    assert error == "unknown input 'picture'; the signature's inputs are ['pixels']"


def test_a_missing_named_input_is_named(tiny):
    assert predict(tiny, {"inputs": {"picture": [GOOD]}}) == "Missing named input: pixels in 'inputs' object."


def test_rows_with_different_inputs_are_refused(tiny):
    error = predict(tiny, {"instances": [{"pixels": GOOD}, {"image": GOOD}]})
    assert error == "instances[1] has inputs ['image'], instances[0] has ['pixels']"


def test_both_instances_and_inputs_are_refused(tiny):
    assert "only one" in predict(tiny, {"instances": [GOOD], "inputs": [GOOD]})


def test_neither_instances_nor_inputs_is_refused(tiny):
    assert predict(tiny, {"pixels": [GOOD]}) == (
        "Missing 'inputs' or 'instances' key; send {\"instances\": [value, ...]}"
    )


@pytest.mark.parametrize("value", ["a sentence", 5, None, {"a": 1}])
def test_instances_that_are_no_list_are_refused(tiny, value):
    assert predict(tiny, {"instances": value}) == "'instances' must be a list with one value per instance"


def test_another_signature_is_refused(tiny):
    error = predict(tiny, {"signature_name": "train", "instances": [GOOD]})
    assert error == "signature 'train' does not exist; the model has 'serving_default'"


def test_bad_base64_is_named(tiny):
    error = predict(tiny, {"instances": [{"b64": "***"}]})
    assert error.startswith("instances[0] is not valid base64")


def test_base64_of_no_image_is_refused(tiny):
    error = predict(tiny, {"instances": [{"b64": base64.b64encode(b"hello").decode()}]})
    assert error == "5 bytes are not an image; send PNG, JPEG, GIF, BMP, WEBP, TIFF"


def test_a_mix_of_numbers_and_texts_is_refused(tiny):
    assert "instances[1] is neither" in predict(tiny, {"instances": ["a film", 3]}, "words")


def test_a_body_that_is_not_json_names_the_offset(tiny):
    assert predict(tiny, b'{"instances": [1, 2') == (
        "JSON Parse error: Expecting ',' delimiter: line 1 column 20 (char 19) at offset: 19"
    )


def test_a_json_body_that_is_not_utf8_names_the_offset(tiny):
    assert predict(tiny, b'{"instances": ["\xff"]}') == "JSON Parse error: body is not UTF-8 at offset: 16"


def test_a_json_document_that_is_no_object_is_refused(tiny):
    assert predict(tiny, b"[1, 2]") == "the JSON document is an array; send an object"


def test_json_nested_ten_thousand_deep_is_refused(tiny):
    assert "JSON Parse error" in predict(tiny, b'{"instances": ' + b"[" * 10_000 + b"]" * 10_000 + b"}")


def test_a_body_that_is_not_an_image_lists_the_formats(tiny):
    error = refused(tiny, "/v1/models/brightness:classify", content=b"hello", headers=PNG)
    assert error == "5 bytes are not an image; send PNG, JPEG, GIF, BMP, WEBP, TIFF"


def test_a_truncated_image_is_refused(tiny):
    whole = png(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    error = refused(tiny, "/v1/models/brightness:classify", content=whole[: len(whole) // 2], headers=PNG)
    assert error.startswith("image is truncated or damaged")


def test_an_image_above_the_pixel_limit_is_refused_from_its_header(tiny):
    error = refused(tiny, "/v1/models/brightness:classify", content=png_header(60_000, 60_000), headers=PNG)
    assert error == "image has 60000x60000 pixels; at most 25000000 pixels are accepted"


@pytest.mark.parametrize("text", [b"", b"  \n "])
def test_an_empty_text_is_refused(tiny, text):
    error = refused(tiny, "/v1/models/words:classify", content=text, headers=TEXT)
    assert error == "text is empty; send at least one word"


def test_a_text_that_is_not_utf8_names_the_byte(tiny):
    error = refused(tiny, "/v1/models/words:classify", content=b"caf\xe9", headers=TEXT)
    assert error == "text is not UTF-8: byte 3 is 0xe9"


def test_an_image_for_a_text_model_says_what_it_takes(tiny):
    error = refused(tiny, "/v1/models/words:classify", content=png(np.zeros((4, 4), np.uint8)), headers=PNG)
    assert error == "model 'words' takes no images; it takes text or tensors: 'token_ids' int32 (-1,)"


def test_an_unread_content_type_lists_those_that_are_read(tiny):
    error = refused(tiny, "/v1/models/words:classify", content=b"x", headers={"content-type": "application/pdf"})
    assert error.startswith("Content-Type 'application/pdf' is not read")


def test_a_raw_tensor_of_the_wrong_size_names_the_row_size(tiny):
    error = refused(tiny, "/v1/models/brightness:predict", content=b"x" * 17, headers=OCTETS)
    assert error == "body of 17 bytes is no whole number of instances of 16 bytes ('pixels' uint8 (4, 4))"


def test_a_raw_tensor_for_a_variable_input_is_refused(tiny):
    error = refused(tiny, "/v1/models/words:predict", content=b"x" * 16, headers=OCTETS)
    assert error.startswith("application/octet-stream wants a model with one input of fixed shape")


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


@pytest.mark.parametrize("top_k", ["0", "-1", "many", "1.5", "²"])
def test_a_top_k_below_one_is_refused(tiny, top_k):
    error = refused(tiny, "/v1/models/words:classify", params={"top_k": top_k}, content=b"good", headers=TEXT)
    assert error == f"top_k is {top_k!r}; send a whole number of at least 1"


def test_a_damaged_gzip_body_is_refused(tiny):
    headers = {"content-encoding": "gzip"}
    assert "gzip" in refused(tiny, "/v1/models/words:predict", content=b"nonsense", headers=headers)


def test_an_unknown_content_encoding_is_refused(tiny):
    headers = {"content-encoding": "br"}
    assert "'br'" in refused(tiny, "/v1/models/words:predict", content=b"nonsense", headers=headers)


def test_an_unknown_model_lists_the_models(tiny):
    error = predict(tiny, {"instances": [1]}, "nope", code=404)
    assert error == "model 'nope' is not in the repository; models: brightness, fragile, words"


def test_an_unknown_version_lists_the_versions(tiny):
    error = refused(tiny, "/v1/models/words/versions/7:predict", content=b"{}", code=404)
    assert error == "model 'words' has no version 7 that is loaded; loaded: [1]"


def test_an_unknown_label_is_not_found(tiny):
    error = refused(tiny, "/v1/models/words/labels/stable:predict", content=b"{}", code=404)
    assert error == "model 'words' has no label 'stable'"


def test_an_unknown_verb_is_not_found(tiny):
    assert tiny.post("/v1/models/words:guess", content=b"{}").status_code == 404


def test_get_on_an_inference_path_is_405_and_names_post(tiny):
    reply = tiny.get("/v1/models/words:predict")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.json() == {"error": "Method Not Allowed; use POST"}


def test_post_on_a_status_path_is_405(tiny):
    reply = tiny.post("/v1/models/words")
    assert reply.status_code == 405
    assert reply.json().keys() == {"error"}


def test_a_body_announced_above_the_limit_is_413(tiny):
    error = refused(tiny, "/v1/models/words:predict", content=b"x" * (16 * 2**20 + 1), code=413)
    assert error == f"body of {16 * 2**20 + 1} bytes; at most {16 * 2**20} are accepted"


def test_a_chunked_body_above_the_limit_is_413(tiny):
    chunks = (b"x" * 2**20 for _ in range(17))
    assert "limit" in refused(tiny, "/v1/models/words:predict", content=chunks, code=413)


def test_a_gzip_bomb_is_413(tiny):
    import gzip

    bomb = gzip.compress(b" " * (17 * 2**20))
    error = refused(tiny, "/v1/models/words:predict", content=bomb, headers={"content-encoding": "gzip"}, code=413)
    assert "inflates" in error


def test_more_rows_than_the_queue_holds_are_413(tiny):
    error = refused(tiny, "/v1/models/brightness:predict", content=bytes(16 * 4097), headers=OCTETS, code=413)
    assert error.startswith("request holds 4097 instances")


def test_a_row_that_fails_in_the_backend_is_our_fault_and_names_the_runtime(tiny):
    assert "Gather" in predict(tiny, {"instances": [30]}, "fragile", code=500)


def test_a_huge_bad_body_does_not_hold_up_the_others(tiny):
    rows = ",".join(["[1,2,3]"] * 1_000_000 + ["[1,2]"])
    body = f'{{"instances": [{rows}]}}'.encode()
    took = []

    def send():
        start = time.monotonic()
        error = predict(tiny, body)
        took.append(time.monotonic() - start)
        assert error == "instances[1000000] has 2 values, instances[0] has 3; all rows must share one shape"

    big = threading.Thread(target=send)
    big.start()
    waits = []
    while not took:
        start = time.monotonic()
        assert tiny.post("/v1/models/fragile:predict", json={"instances": [2]}).status_code == 200
        waits.append(time.monotonic() - start)
    big.join()
    # Decoded on the event loop, the big body would hold up one of the small ones for most of its own time.
    assert max(waits) < took[0] / 2


def test_after_all_that_good_input_is_still_answered(tiny):
    assert tiny.post("/v1/models/brightness:predict", json={"instances": [GOOD]}).status_code == 200
