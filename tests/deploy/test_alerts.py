"""Alerts: each can be raised, by numbers that there are, and whoever is called finds out what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from deploy_tools import DEPLOY, document, missing, promtool, run
from metric_names import FOREIGN, PROMISED, asked, given, wrong_in

from triggers.core.decisions import Reason
from triggers.dispatch.arrival import Standing
from triggers.dispatch.breaker import State
from triggers.store.states import STATES

FOLDER = DEPLOY / "prometheus"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in document(FOLDER / "alerts.yml")["groups"] for rule in group["rules"]
}
RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text(encoding="utf-8")
KNOWN = {**PROMISED, **given(), **FOREIGN}
every_alert = pytest.mark.parametrize("name", sorted(RULES))


def checking(*arguments: str) -> Any:
    tool = promtool()
    if isinstance(tool, str):
        missing(tool)
    return run(tool, *arguments, cwd=FOLDER)


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    checked = checking("check", "rules", "alerts.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout


def test_each_alert_is_raised_by_what_it_is_for_and_a_fleet_that_is_well_raises_none() -> None:
    tested = checking("test", "rules", "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_promtool_finds_nothing_wrong_with_the_configuration_of_prometheus() -> None:
    checked = checking("check", "config", "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_promtool_finds_nothing_wrong_with_what_a_cluster_is_scraped_by(tmp_path: Any) -> None:
    """Debian's promtool knows no clusters, so it is shown the rest, with a fixed target."""
    told = document(FOLDER / "kubernetes.yml")
    [job] = told["scrape_configs"]
    [found] = job.pop("kubernetes_sd_configs")
    assert found == {"role": "pod", "namespaces": {"names": ["triggers"]}}
    told["rule_files"] = [str(FOLDER / "alerts.yml")]
    job["static_configs"] = [{"targets": ["127.0.0.1:1"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(told), encoding="utf-8")
    checked = checking("check", "config", str(tmp_path / "prometheus.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@every_alert
def test_each_alert_says_how_bad_it_is_and_what_it_means(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert re.fullmatch(r"\d+[smh]", rule["for"])
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert not notes["summary"].endswith(".")
    assert notes["description"].endswith(".")


@every_alert
def test_each_alert_leads_to_its_section_of_the_runbook(name: str) -> None:
    assert RULES[name]["annotations"]["runbook_url"] == f"deploy/RUNBOOK.md#{name.lower()}"
    section = re.search(rf"^### {name}\n+(.+?)(?=^#|^---|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert "**Do" in section[1] or "**do" in section[1]


def test_the_runbook_has_a_section_for_nothing_else() -> None:
    assert set(re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)) == set(RULES)


@every_alert
def test_each_alert_asks_for_numbers_and_labels_that_somebody_gives(name: str) -> None:
    rule = RULES[name]
    assert asked(rule["expr"])
    assert wrong_in(rule["expr"], KNOWN) == []
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    grouped = " ".join(re.findall(r"by \(([^)]*)\)", rule["expr"]))
    assert all(re.search(rf"\b{label}\b", grouped) for label in used), used


@every_alert
def test_each_alert_has_a_case_that_raises_it(name: str) -> None:
    cases = (FOLDER / "alerts_test.yml").read_text(encoding="utf-8")
    raised = [line for line in cases.splitlines() if f'alertname="{name}", alertstate="firing"' in line]
    assert any("exp_samples" not in line and "labels:" in line for line in raised)


def test_the_jobs_of_the_alerts_are_those_that_are_scraped() -> None:
    scraped = {job["job_name"] for job in document(FOLDER / "prometheus.yml")["scrape_configs"]}
    named = set(re.findall(r'job="([^"]+)"', (FOLDER / "alerts.yml").read_text(encoding="utf-8")))
    assert named <= scraped == {"triggers-worker", "triggers-dispatcher", "triggers-web"}


def test_states_and_reasons_that_the_alerts_look_for_exist() -> None:
    text = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    of_gateways = {str(each) for each in (*State, *Standing)}
    for number, label, values in re.findall(r'(triggers_\w+)\{(?:[^}]*, )?(state|reason)=~?"([^"]+)"', text):
        known = {
            "triggers_outbox": set(STATES),
            "triggers_gateway_state": of_gateways,
            "triggers_decisions_total": {str(each) for each in Reason},
            "triggers_not_sent_total": {str(each) for each in Reason},
        }[number]
        assert set(values.split("|")) <= known, (number, label)


def test_the_reading_of_queries_finds_what_nobody_gives() -> None:
    known = {"triggers_a_total": {"rule"}, "triggers_b": set()}
    assert wrong_in('sum by (rule) (rate(triggers_a_total{rule="x", job="j"}[5m]))', known) == []
    assert wrong_in("triggers_c", known) == ["nobody gives triggers_c"]
    assert wrong_in('triggers_b{rule="x"}', known) == ["triggers_b has no label rule"]
    assert wrong_in("max by (partition) (triggers_b)", known) == ["nothing in it has a label partition"]


def test_the_numbers_of_our_source_are_found_with_their_labels() -> None:
    found = given()
    assert found["triggers_decisions_total"] == {"rule", "reason"}
    assert found["triggers_commit_seconds_bucket"] == {"le"}
    assert found["triggers_outbox"] == {"state"}
    assert found["triggers_lag_seconds"] == set()
