"""Which process removes a Unix socket from the disk."""

import socket

import pytest

from app.edge.entry.bind import Bind

pytestmark = pytest.mark.anyio


async def listening(bind):
    [made] = await bind.listen()
    return made


def answers(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        return True


async def test_a_service_removes_its_own_socket_and_not_that_of_its_successor(tmp_path):
    """A service that drains has closed its socket, and another one may listen at the same path already."""
    path = tmp_path / "admin.sock"
    old, new = Bind(str(path), None), Bind(str(path), None)
    (await listening(old)).close()
    with await listening(new):
        old.close()
        assert answers(path)
    new.close()
    assert not path.exists()


async def test_a_file_that_is_not_our_socket_is_not_removed(tmp_path):
    path = tmp_path / "admin.sock"
    path.write_text("a file")
    Bind(str(path), None).close()
    assert path.read_text() == "a file"
