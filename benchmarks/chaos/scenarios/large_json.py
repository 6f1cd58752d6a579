"""Documents of the largest allowed size, many in parallel."""

import http.client
import threading
import time

from benchmarks.chaos.target import MOST_SILENCE_S, Found, Scenario, Target


def large_json(target: Target) -> Found:
    """Ten JSON documents of 15 MB in parallel, of each of five kinds."""
    image = b"[" + b",".join([b"[" + b",".join([b"128"] * 28) + b"]"] * 28) + b"]"
    head = b'{"inputs":[{"name":"pixels","datatype":"UINT8","shape":[4700,28,28],"data":['
    documents = {
        "numbers": b'{"instances":[' + b"1," * 7_500_000 + b"1]}",
        "images": b'{"instances":[' + b",".join([image] * 4_700) + b"]}",
        "small arrays": b'{"instances":[' + b"[1]," * 3_750_000 + b"[1]]}",
        "strings": b'{"instances":[' + b'"a",' * 3_750_000 + b'"a"]}',
        "V2": head + b",".join([b"128"] * 4_700 * 784) + b"]}]}",
    }
    waits, faults = {}, []
    for name, document in documents.items():
        model = "/v2/models/fashion-mnist-cnn/infer" if name == "V2" else "/v1/models/fashion-mnist-cnn:predict"
        codes: list[int] = []

        def ask(path: str = model, body: bytes = document, codes: list[int] = codes) -> None:
            connection = http.client.HTTPConnection(target.address, timeout=60)
            try:
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                codes.append(connection.getresponse().status)
            finally:
                connection.close()

        clients = [threading.Thread(target=ask) for _ in range(10)]
        for each in clients:
            each.start()
        waits[name] = 0.0
        while any(each.is_alive() for each in clients):
            waits[name] = max(waits[name], target.health_s())
            time.sleep(0.005)
        if len(codes) != 10 or not set(codes) <= {200, 400, 413, 429, 503}:
            faults.append(f"{name}: answered {sorted(codes)}")
    longest = max(waits, key=waits.__getitem__)
    if waits[longest] > MOST_SILENCE_S:
        faults.append(f"health took {waits[longest] * 1e3:.0f} ms ({longest})")
    return Found("health at most " + ", ".join(f"{took * 1e3:.0f} ms ({name})" for name, took in waits.items()), faults)


LARGE_JSON = Scenario("large JSON", "health within 250 ms; others within their timeouts", large_json)
