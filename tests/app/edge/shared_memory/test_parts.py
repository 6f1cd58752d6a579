"""The parameters of a tensor name a part of a region, or the request is refused."""

import pytest

from app.edge.shared_memory.parts import read_part
from app.errors import InvalidInput


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"shared_memory_region": 1, "shared_memory_byte_size": 1}, "is 1; send the name of a region"),
        ({"shared_memory_region": "x"}, "has no 'shared_memory_byte_size'"),
        ({"shared_memory_region": "x", "shared_memory_byte_size": 1.5}, "'shared_memory_byte_size' is 1.5"),
        (
            {"shared_memory_region": "x", "shared_memory_byte_size": 1, "shared_memory_offset": -1},
            "'shared_memory_offset' is -1",
        ),
    ],
)
def test_parameters_that_name_no_part_are_refused(parameters, error):
    with pytest.raises(InvalidInput) as caught:
        read_part(parameters, "input 'x'")
    assert error in caught.value.message
