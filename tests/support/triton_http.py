"""Infer inputs of Triton's HTTP client."""

import tritonclient.http as triton

from tests.support.tiny_inputs import PIXELS


def tensor(name, values, datatype, *, binary=True, api=triton):
    given = api.InferInput(name, list(values.shape), datatype)
    given.set_data_from_numpy(values, binary_data=binary)
    return given


def pixels(values=PIXELS, *, binary=True):
    return [tensor("pixels", values, "UINT8", binary=binary)]
