"""The alerts: each fires on made-up series, has a section of the runbook, and uses metrics that exist."""

import re
import shutil
import subprocess

import pytest
import yaml

from tests.support.service import ROOT

RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
METRICS = set(re.findall(r"`(atelier_\w+)`", (ROOT / "docs/reference/metrics.md").read_text()))
ALERTS = [
    rule
    for path in RULES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


def metrics_of(expression):
    """Our metrics in an expression, without the endings of histograms."""
    names = re.findall(r"(?<![:\w])atelier_\w+", expression)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian package prometheus)")
def test_each_alert_fires_when_it_should_and_not_otherwise():
    command = ["promtool", "test", "rules", str(ROOT / "tests/deploy/alerts.yml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_file_of_promtool_has_a_case_for_each_alert():
    cases = yaml.safe_load((ROOT / "tests/deploy/alerts.yml").read_text())["tests"]
    firing = {case["alertname"] for each in cases for case in each["alert_rule_test"] if case["exp_alerts"]}
    assert firing == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_a_section_of_the_runbook(rule):
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_rules_use_metrics_that_the_service_has():
    used = {name for path in RULES for name in metrics_of(path.read_text())}
    assert len(used) > 10
    # A group has the name atelier-..., a recorded series the middle part atelier_...: neither is a metric.
    assert used - METRICS == set()
