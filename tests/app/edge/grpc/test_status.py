"""Errors as gRPC status codes."""

import pytest
from grpc import StatusCode

from app import errors
from app.edge.grpc.status import code_of, details_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidInput("x"), StatusCode.INVALID_ARGUMENT),
        (errors.TooLarge("x"), StatusCode.INVALID_ARGUMENT),
        (errors.WrongFormat("x"), StatusCode.INVALID_ARGUMENT),
        (errors.ModelNotFound("x"), StatusCode.NOT_FOUND),
        (errors.VersionNotFound("x"), StatusCode.NOT_FOUND),
        (errors.QueueFull("x"), StatusCode.RESOURCE_EXHAUSTED),
        (errors.DeadlineOutOfReach("x"), StatusCode.RESOURCE_EXHAUSTED),
        (errors.Draining("x"), StatusCode.UNAVAILABLE),
        (errors.ModelNotReady("x"), StatusCode.UNAVAILABLE),
        (errors.DeadlineExceeded("x"), StatusCode.DEADLINE_EXCEEDED),
        (errors.Forbidden("x"), StatusCode.PERMISSION_DENIED),
        (errors.Unsupported("x"), StatusCode.UNIMPLEMENTED),
        (errors.BackendFailed("x"), StatusCode.INTERNAL),
        (errors.VersionRefused("x"), StatusCode.FAILED_PRECONDITION),
        (errors.SettingsUnwritable("x"), StatusCode.INTERNAL),
    ],
)
def test_each_error_has_its_code(error, code):
    assert code_of(error) is code


def test_a_message_is_cut_between_two_characters():
    assert details_of(errors.InvalidInput("short")) == "short"
    assert details_of(errors.InvalidInput("x" + "ä" * 2000)) == "x" + "ä" * 1023 + " ..."
