"""compose.yaml and the unit of systemd, as far as they can be checked without a daemon."""

import re
import shutil
import subprocess

import pytest
import yaml

from app.settings import Settings
from tests.support.service import ROOT

COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
UNIT = ROOT / "deploy/systemd/atelier.service"
DEFAULTS = Settings()
IN_IMAGE = dict(re.findall(r"(ATELIER_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
MARGIN_S = 5


def test_what_compose_mounts_exists():
    mounts = [mount.split(":")[0] for service in COMPOSE.values() for mount in service["volumes"]]
    assert mounts
    for mount in mounts:
        assert (ROOT / "deploy" / mount).exists(), mount
    assert (ROOT / "deploy" / COMPOSE["atelier"]["build"] / "Dockerfile").is_file()


def test_prometheus_of_compose_scrapes_the_service_and_grafana_asks_prometheus():
    [scrape] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": [f"127.0.0.1:{DEFAULTS.port}"]}]
    assert COMPOSE["prometheus"]["network_mode"] == "service:atelier"
    [source] = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/atelier.yml").read_text())["datasources"]
    assert source["url"] == "${PROMETHEUS_URL}"
    assert COMPOSE["grafana"]["environment"]["PROMETHEUS_URL"] == "http://atelier:9090"
    [provider] = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/atelier.yml").read_text())["providers"]
    assert any(mount.split(":")[1] == provider["options"]["path"] for mount in COMPOSE["grafana"]["volumes"])


def test_both_wait_for_the_drain():
    drain_s = DEFAULTS.shutdown_timeout_s
    assert int(COMPOSE["atelier"]["stop_grace_period"].rstrip("s")) >= (
        float(IN_IMAGE["ATELIER_DRAIN_DELAY_S"]) + drain_s + MARGIN_S
    )
    assert int(re.search(r"(?m)^TimeoutStopSec=(\d+)", UNIT.read_text())[1]) >= drain_s + MARGIN_S


@pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed (Debian package systemd)"
)
def test_the_unit_is_hardened():
    """Exposure of at most 2.0, on systemd's scale from 0 to 10."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(UNIT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed (Debian package systemd)"
)
def test_the_unit_has_no_mistake_but_the_place_of_this_installation(tmp_path):
    text = UNIT.read_text().replace("/opt/atelier/.venv/bin/python", "/bin/true").replace("/opt/atelier", "/")
    (tmp_path / "atelier.service").write_text(text)
    command = ["systemd-analyze", "verify", str(tmp_path / "atelier.service")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
