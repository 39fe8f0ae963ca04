"""An engine is one version of one registered model, however often it is registered; aliases move."""

import json

import pytest

from tests.unit.manifests import MANIFEST
from trident.errors import ManifestError, UnavailableError
from trident.manifest import write_manifest
from trident.registry import VERSION_TAG, default_uri, register

mlflow = pytest.importorskip("mlflow", reason="the extra 'registry' is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # mlflow's own


@pytest.fixture
def engines(tmp_path):
    """Two versions of one engine with figures and a report."""
    for version in ("v1", "v2"):
        directory = tmp_path / "test" / version
        directory.mkdir(parents=True)
        (directory / "quality.json").write_text(json.dumps([version]))
        (directory / "recipe.json").write_text("{}")
        (directory / "openvino_model.bin").write_bytes(b"weights")
        changes = {"version": version, "quality": {"perplexity": 20.5, "kl_mean": 0.01}}
        write_manifest(directory, MANIFEST.model_copy(update=changes))
    return tmp_path


@pytest.fixture
def client(engines):
    return mlflow.MlflowClient(tracking_uri=default_uri(engines), registry_uri=default_uri(engines))


def test_recipe_figures_and_report_are_logged_and_the_weights_are_not(engines, client):
    number = register(engines / "test" / "v1", default_uri(engines), "champion")
    version = client.get_model_version_by_alias("test", "champion")
    run = client.get_run(version.run_id).data
    assert int(version.version) == number == 1
    assert version.tags[VERSION_TAG] == "v1"
    assert run.metrics == {"perplexity": 20.5, "kl_mean": 0.01}
    assert run.params["recipe_sha256"] == MANIFEST.recipe_sha256
    assert {artifact.path for artifact in client.list_artifacts(version.run_id)} == {
        "manifest.json",
        "quality.json",
        "recipe.json",
    }


def test_the_same_engine_is_registered_once(engines):
    uri = default_uri(engines)
    assert [register(engines / "test" / "v1", uri), register(engines / "test" / "v1", uri)] == [1, 1]


def test_an_alias_moves_to_the_version_that_gets_it(engines, client):
    uri = default_uri(engines)
    register(engines / "test" / "v1", uri, "champion")
    register(engines / "test" / "v2", uri, "canary")
    assert int(client.get_model_version_by_alias("test", "canary").version) == 2
    register(engines / "test" / "v2", uri, "champion", "canary")
    assert int(client.get_model_version_by_alias("test", "champion").version) == 2


def test_what_cannot_be_registered_says_why_in_one_line(engines):
    with pytest.raises(ManifestError, match="no engine"):
        register(engines, default_uri(engines))
    with pytest.raises(UnavailableError, match="the registry at nonsense://x"):
        register(engines / "test" / "v1", "nonsense://x")
