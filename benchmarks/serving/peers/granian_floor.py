"""A second floor: Granian, whose HTTP is written in Rust, with the application of the floor."""

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from network import port

if __name__ == "__main__":
    Granian(
        "floor:app",
        address="127.0.0.1",
        port=port(),
        interface=Interfaces.ASGINL,
        workers=1,
        http=HTTPModes.http1,
        loop=Loops.uvloop,
        log_enabled=False,
        log_access=False,
    ).serve()
