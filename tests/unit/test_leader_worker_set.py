"""The manifest for an engine over two nodes is well formed and keeps what the deployment must do."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest

from trident.settings import Backend, read_settings

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

MANIFEST = Path(__file__).parents[2] / "docker" / "kubernetes" / "leader-worker-set.yaml"
SCHEMA = json.loads((Path(__file__).parent / "leader_worker_set.schema.json").read_text())


@pytest.fixture(scope="module")
def documents() -> dict:
    return {document["kind"]: document for document in yaml.safe_load_all(MANIFEST.read_text())}


@pytest.fixture
def group(documents) -> dict:
    return copy.deepcopy(documents["LeaderWorkerSet"])


@pytest.fixture
def pods(group) -> dict:
    template = group["spec"]["leaderWorkerTemplate"]
    return {role: template[f"{role}Template"]["spec"] for role in ("leader", "worker")}


def test_it_keeps_the_schema(group):
    jsonschema.Draft202012Validator(SCHEMA).validate(group)


@pytest.mark.parametrize("change", ["sise", "containers", "volumes"])
def test_the_schema_refuses_what_is_misspelt_or_missing(group, change):
    template = group["spec"]["leaderWorkerTemplate"]
    if change == "sise":
        template["sise"] = template.pop("size")
    elif change == "containers":
        del template["workerTemplate"]["spec"]["containers"][0]["image"]
    else:
        template["leaderTemplate"]["spec"]["volumes"][0]["emptyDir"] = {}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(group)


def test_every_pod_is_confined(pods):
    for pod in pods.values():
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert not container["securityContext"]["allowPrivilegeEscalation"]


def test_shared_memory_is_the_pod_s_own_and_bounded(pods):
    for pod in pods.values():
        (shm,) = [volume for volume in pod["volumes"] if volume["name"] == "shm"]
        assert shm["emptyDir"]["medium"] == "Memory"
        assert shm["emptyDir"]["sizeLimit"]
        mounts = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
        assert "/dev/shm" in mounts  # noqa: S108


def test_both_nodes_have_the_same_gpus_and_the_count_that_mpirun_is_told(pods):
    for pod in pods.values():
        (container,) = pod["containers"]
        count = next(each["value"] for each in container["env"] if each["name"] == "GPU_COUNT")
        assert container["resources"]["limits"]["nvidia.com/gpu"] == int(count)
        assert pod["affinity"]["nodeAffinity"]


def test_the_settings_are_trident_s(pods):
    variables = {each["name"]: each["value"] for each in pods["leader"]["containers"][0]["env"]}
    settings = read_settings({name: value for name, value in variables.items() if name.startswith("TRIDENT_")})
    assert settings.host == "0.0.0.0"
    assert f"--backend {Backend.CPP.value}" in pods["leader"]["containers"][0]["args"][0]
    grace_s = pods["leader"]["terminationGracePeriodSeconds"]
    pause_s = int(pods["leader"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert grace_s >= pause_s + settings.exit_timeout_s + 10


def test_the_leader_names_every_node_of_its_group(pods, tmp_path):
    """Its script, with nothing to reach and nothing to start."""
    script = pods["leader"]["containers"][0]["args"][0]
    script = script.replace("/tmp/hosts", str(tmp_path / "hosts")).replace("until ssh", "until true")  # noqa: S108
    assert script.rstrip().splitlines()[-1].startswith("exec trident serve")
    script = script.replace("exec trident serve --backend cpp", "")
    given = {"LWS_LEADER_ADDRESS": "llm-1.llm.prod", "LWS_GROUP_SIZE": "3", "GPU_COUNT": "8", "SSH_OPTIONS": ""}
    subprocess.run(["bash", "-euc", script], env={"PATH": os.environ["PATH"], **given}, check=True, timeout=20)  # noqa: S607
    assert (tmp_path / "hosts").read_text().splitlines() == [
        "llm-1.llm.prod slots=8",
        "llm-1-1.llm.prod slots=8",
        "llm-1-2.llm.prod slots=8",
    ]


def test_only_leaders_are_called_and_only_by_the_gateway(documents):
    assert documents["Service"]["spec"]["selector"]["role"] == "leader"
    policy = documents["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    for rule in policy["ingress"]:
        assert rule["from"]


def test_from_inside_only_the_group_and_dns_are_reached(documents):
    policy = documents["NetworkPolicy"]["spec"]
    group, dns = policy["egress"]
    assert group == {"to": [{"podSelector": policy["podSelector"]}]}
    assert dns["to"]
    assert {each["port"] for each in dns["ports"]} == {53}
