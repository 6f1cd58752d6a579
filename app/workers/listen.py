"""The port for gRPC of a service with workers: bound by the supervisor, before any worker runs."""

import errno
import socket

from app.errors import CannotListen


def hold_grpc_port(host: str, port: int) -> list[socket.socket]:
    """Keep a port for the gRPC servers of the workers, which all listen on it (SO_REUSEPORT).

    Sockets that do not listen get no connections; they see to it that the port stays this service's own.

    Args:
        host: address or name.
        port: 0 picks a free one.

    Returns:
        A bound socket for each address of ``host``, all with the same port.

    Raises:
        CannotListen: the address is taken, or does not belong to this machine.
    """
    held: list[socket.socket] = []
    unknown: OSError | None = None
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                held.append(_hold(family, (str(address[0]), held[0].getsockname()[1] if held else port)))
            except OSError as refused:
                unknown = refused
                if refused.errno != errno.EADDRNOTAVAIL:  # a name may have addresses that are not of this machine
                    raise
        if not held:
            raise unknown or OSError(f"{host} has no address")
    except OSError as error:
        for each in held:
            each.close()
        shown = f"[{host}]" if ":" in host else host
        raise CannotListen(f"cannot listen on {shown}:{port} for gRPC; choose another port with --grpc-port") from error
    return held


def _hold(family: int, place: tuple[str, int]) -> socket.socket:
    with socket.socket(family) as alone:  # not shared: fails if another service listens there
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(place)
        place = alone.getsockname()
    own = socket.socket(family)
    try:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own.bind(place)
    except OSError:
        own.close()
        raise
    return own
