"""A service keeps to its directories, and sends nothing about itself or its models to anybody."""

from tests.support.processes import open_files
from tests.support.service import Service
from tests.support.tiny_models import SIDE


def test_nothing_is_written_to_the_home_of_the_user_and_no_usage_data_is_collected(tiny_models, tmp_path, monkeypatch):
    for name in ("CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY"):  # in which ONNX Runtime collects nothing either
        monkeypatch.delenv(name, raising=False)
    service = Service(tiny_models, environment={"HOME": str(tmp_path), "XDG_CACHE_HOME": ""})
    try:
        body = bytes(SIDE * SIDE)
        octets = {"Content-Type": "application/octet-stream"}
        assert service.client.post("/v1/models/brightness:predict", content=body, headers=octets).status_code == 200
        opened = open_files(service.process.pid)
        assert not [path for path in opened if path.endswith((".db", ".db-wal", ".sqlite"))]
    finally:
        assert service.stop() == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
