"""gRPC messages of the largest size that are far larger once they are parsed, many in parallel."""

import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.chaos.target import MOST_SILENCE_S, Found, Scenario, Target

CLIENTS = 12
_METHOD = "/inference.GRPCInferenceService/ModelInfer"
# Numbers of fields of ModelInferRequest, of its inputs, and of their contents (Open Inference Protocol).
_MODEL_NAME, _INPUTS = 1, 5
_NAME, _DATATYPE, _CONTENTS = 1, 2, 5
_INT64, _BYTES = 3, 8


def grpc_messages(target: Target) -> Found:
    """Twelve messages in parallel, of each of four kinds; health is probed until all are answered."""
    assert target.service.grpc_port is not None
    messages = {
        "a name of 16 MB": _field(_MODEL_NAME, b"\1" * 16_000_000),
        "16 MB of small numbers": _request(_field(_INT64, b"\1" * 16_000_000)),
        "16 MB of empty strings": _request(_field(_BYTES, b"") * 8_000_000),
        "2 MB of small numbers, the most that is parsed": _request(_field(_INT64, b"\1" * 2_090_000)),
    }
    waits, faults = {}, []
    for name, message in messages.items():
        mine, theirs = multiprocessing.Pipe()
        # In a separate process: a client that sends 16 MB keeps its interpreter, and would make the probe wait.
        sending = multiprocessing.get_context("spawn").Process(
            target=_ask_at_once, args=(target.service.grpc_port, message, theirs)
        )
        sending.start()
        mine.recv()
        mine.send("start")
        waits[name] = 0.0
        while not mine.poll():
            waits[name] = max(waits[name], target.health_s())
            time.sleep(0.005)
        codes = mine.recv()
        sending.join()
        if codes != ["INVALID_ARGUMENT"] * CLIENTS:
            faults.append(f"{name}: answered {sorted(codes)}")
    longest = max(waits, key=waits.__getitem__)
    if waits[longest] > MOST_SILENCE_S:
        faults.append(f"health took {waits[longest] * 1e3:.0f} ms ({longest})")
    return Found("health at most " + ", ".join(f"{took * 1e3:.0f} ms ({name})" for name, took in waits.items()), faults)


def _ask_at_once(port: int, message: bytes, told: Connection) -> None:
    """Report that all clients are connected, wait for the start, and report the answer of each."""
    import grpc

    channels = [
        grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) for _ in range(CLIENTS)
    ]
    for channel in channels:
        grpc.channel_ready_future(channel).result(timeout=60)
    codes: list[str] = []

    def ask(channel: Any) -> None:
        try:
            channel.unary_unary(_METHOD)(message, timeout=60)
            codes.append("OK")
        except grpc.RpcError as error:
            failed: Any = error  # its type does not name code()
            codes.append(failed.code().name)

    clients = [threading.Thread(target=ask, args=(channel,)) for channel in channels]
    told.send("connected")
    told.recv()
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    told.send(codes)


def _request(contents: bytes) -> bytes:
    """A ModelInferRequest with one input, which has no shape."""
    tensor = _field(_NAME, b"pixels") + _field(_DATATYPE, b"INT64") + _field(_CONTENTS, contents)
    return _field(_MODEL_NAME, b"fashion-mnist-cnn") + _field(_INPUTS, tensor)


def _field(number: int, value: bytes) -> bytes:
    """A field of bytes, text, a message or packed numbers (Protocol Buffers documentation, Encoding)."""
    size, length = len(value), bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes([number << 3 | 2]) + bytes(length) + value


GRPC_MESSAGES = Scenario(
    "gRPC messages",
    "each is refused; health within 250 ms",
    grpc_messages,
    flags=("--grpc-port", "0"),
)
