"""Names of devices, in serving.json and on the command line."""

import re
from typing import Annotated

from pydantic import AfterValidator

AUTO, CPU, CUDA = "auto", "cpu", "cuda"
_NAMES = re.compile(r"auto|cpu|cuda(:(0|[1-9][0-9]*))?")


def check_device(name: str) -> str:
    """The valid name.

    Raises:
        ValueError: it is not the name of a device.
    """
    if not _NAMES.fullmatch(name):
        raise ValueError(
            f"device is {name!r}; it must be 'auto', 'cpu', 'cuda' or 'cuda:N' with the number of a GPU, as in 'cuda:0'"
        )
    return name


DeviceName = Annotated[str, AfterValidator(check_device)]
