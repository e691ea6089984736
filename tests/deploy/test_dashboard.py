"""The dashboard: whole, and by numbers that somebody gives."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
from deploy_tools import DEPLOY, ROOT, document, missing, promtool, run
from metric_names import FOREIGN, PROMISED, asked, given, wrong_in

FILE = DEPLOY / "grafana" / "dashboards" / "triggers.json"
BOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
VARIABLES = {each["name"]: each for each in BOARD["templating"]["list"]}
KNOWN = {**PROMISED, **given(), **FOREIGN}
WIDTH = 24
OF_GRAFANA = {"__range", "__all"}


def queries() -> list[tuple[str, str]]:
    return [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def plain(query: str) -> str:
    """Put values where Grafana would."""
    return query.replace("$__range", "6h").replace("$job", "triggers.*").replace("$partition", ".*")


@pytest.mark.parametrize(("title", "query"), queries())
def test_each_panel_asks_for_numbers_and_labels_that_somebody_gives(title: str, query: str) -> None:
    assert title
    assert asked(query)
    assert wrong_in(plain(query), KNOWN) == []


def test_each_query_is_one_that_prometheus_understands(tmp_path: Any) -> None:
    tool = promtool()
    if isinstance(tool, str):
        missing(tool)
    rules = [{"record": f"query:{number}", "expr": plain(query)} for number, (_, query) in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}), encoding="utf-8")
    checked = run(tool, "check", "rules", tmp_path / "rules.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_variable_that_is_used_is_there_and_the_other_way_round() -> None:
    text = json.dumps([BOARD["panels"], BOARD["annotations"], BOARD["templating"]])
    used = set(re.findall(r"\$\{?(\w+)", text)) - OF_GRAFANA
    assert used == set(VARIABLES) == {"datasource", "job", "partition"}


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    assert max(Counter(panel["id"] for panel in BOARD["panels"]).values()) == 1
    taken: Counter[tuple[int, int]] = Counter()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= WIDTH
        taken.update((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))
    assert max(taken.values()) == 1


def test_legends_name_labels_that_their_query_keeps() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                grouped = " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))
                assert re.search(rf"\b{label}\b", grouped) or (label == "instance" and not grouped), panel["title"]


def test_what_people_look_for_first_is_on_it() -> None:
    shown = {name for _, query in queries() for name in asked(query)}
    assert shown >= {
        "triggers_outbox",
        "triggers_not_sent_total",
        "triggers_decisions_total",
        "triggers_partition_lag_seconds",
        "triggers_gateway_arrival_ratio",
        "triggers_gateway_arrival_seconds",
        "triggers_dead_letters_total",
        "triggers_rules_revision_info",
    }


def test_panels_that_the_runbook_sends_people_to_are_there() -> None:
    runbook = " ".join((DEPLOY / "RUNBOOK.md").read_text(encoding="utf-8").split())
    titles = {panel["title"] for panel in PANELS}
    for title in ("Behind, by partition", "Rules by revision", "Events taken in", "Decided to send"):
        assert f'"{title}"' in runbook
        assert title in titles
    assert '"The message that has waited longest"' in runbook
    assert "The message that has waited longest" in titles


def test_grafana_is_told_where_the_dashboard_and_the_numbers_are() -> None:
    [source] = document(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    [provider] = document(DEPLOY / "grafana" / "provisioning" / "dashboards" / "triggers.yml")["providers"]
    service = document(ROOT / "docker-compose.yml")["services"]["grafana"]
    mounted = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert mounted["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert source["url"] == "http://prometheus:9090"
    home = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{FILE.name}"
    assert BOARD["uid"] == "triggers-fleet"
