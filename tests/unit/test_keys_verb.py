"""`trident keys`: a key is shown once, and every mistake in an option is one line that names it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from trident.cli import app
from trident.errors import NotFoundError, SettingsError


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "gateway.toml"
    path.write_text(
        f"""
[server]
data = "{tmp_path}/data"
[deployments.main]
url = "host:8001"
[models.smollm2]
deployments = {{ main = 1 }}
aliases = ["gpt-small"]
"""
    )
    return path


@pytest.fixture
def trident(config):
    """Run a verb of `trident keys`; its output, or the error that it raises."""

    def run(*arguments):
        result = CliRunner().invoke(app, ["keys", *arguments, "--config", str(config)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_key_is_shown_when_it_is_made_and_never_again(trident, config):
    """On stdout alone, so that a script can take it; the list and the database do not have it."""
    text = trident("create", "--tenant", "team").strip()
    secret = text.split("_")[2]
    listed = trident("list") + trident("list", "--json")
    assert text.split("_")[1] in listed
    assert secret not in listed
    data = b"".join(path.read_bytes() for path in (config.parent / "data").iterdir())
    assert secret.encode() not in data


def test_options_become_scopes_limits_and_expiry(trident):
    """As `list` shows them."""
    trident(
        "create", "--tenant", "team", "--name", "notebook", "--models", "smollm2,gpt-small", "--endpoints", "chat",
        "--expires", "2099-01-31", "--requests-per-minute", "5", "--tokens-per-minute", "900",
        "--concurrent-requests", "2", "--daily-budget", "1.5",
    )  # fmt: skip
    (shown,) = json.loads(trident("list", "--tenant", "team", "--json"))
    assert shown.pop("prefix")
    assert shown.pop("created_at")
    assert shown == {
        "tenant": "team",
        "name": "notebook",
        "state": "active",
        "models": ["gpt-small", "smollm2"],
        "endpoints": ["chat"],
        "limits": {"requests_per_minute": 5, "tokens_per_minute": 900, "concurrent_requests": 2, "daily_budget": 1.5},
        "expires_at": "2099-01-31T00:00:00+00:00",
        "revoked_at": None,
        "old_secret_until": None,
    }
    assert json.loads(trident("list", "--tenant", "nobody", "--json")) == []


def test_admin_is_asked_for_and_comes_with_the_rest(trident):
    """Without `--admin` no key opens the operator's endpoints."""
    plain = json.loads(trident("create", "--json"))
    admin = json.loads(trident("create", "--admin", "--json"))
    only = json.loads(trident("create", "--admin", "--endpoints", "", "--json"))
    assert plain["endpoints"] is None
    assert {"admin", "chat", "embeddings"} <= set(admin["endpoints"])
    assert only["endpoints"] == ["admin"]


def test_rotation_keeps_the_prefix_and_says_how_long_the_old_secret_goes_on(trident):
    """The key is the same for limits, logs and reports."""
    old = json.loads(trident("create", "--json"))
    new = json.loads(trident("rotate", old["prefix"], "--grace", "1h", "--json"))
    assert new["prefix"] == old["prefix"]
    assert new["key"] != old["key"]
    assert new["old_secret_until"] is not None
    at_once = json.loads(trident("rotate", old["prefix"], "--grace", "0s", "--json"))
    assert at_once["old_secret_until"] is None


def test_revoked_key_is_listed_as_such(trident):
    """By its prefix, in whatever form it is given."""
    made = json.loads(trident("create", "--json"))
    assert "revoked" in trident("revoke", f"tri_{made['prefix']}")
    assert [key["state"] for key in json.loads(trident("list", "--json"))] == ["revoked"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "--models", "smolm2"], "--models: there is no 'smolm2'; did you mean 'smollm2'"),
        (["create", "--endpoints", "chats"], "--endpoints: there is no 'chats'; did you mean 'chat'"),
        (["create", "--expires", "soon"], "--expires: 'soon'"),
        (["create", "--expires", "2020-01-01"], "in the past"),
        (["create", "--daily-budget", "0"], "--daily-budget must be above 0"),
        (["create", "--daily-budget", "inf"], "--daily-budget must be above 0"),
        (["create", "--daily-budget", "nan"], "--daily-budget must be above 0"),
        (["create", "--expires", "999999d"], "--expires: '999999d'"),
        (["create", "--tenant", ""], "--tenant must have 1 to 128"),
        (["create", "--tenant", "x" * 129], "--tenant must have 1 to 128"),
        (["create", "--name", "a\nb"], "--name must have"),
        (["rotate", "0123456789ab", "--grace", "ever"], "--grace: 'ever'"),
        (["revoke", "everything"], "12 hex digits"),
    ],
)
def test_wrong_option_is_refused_by_name(trident, arguments, message):
    """And no key is made."""
    with pytest.raises(SettingsError, match=message.replace("(", r"\(")):
        trident(*arguments)
    assert json.loads(trident("list", "--json")) == []


def test_unknown_key_is_refused(trident):
    """Not silently revoked."""
    with pytest.raises(NotFoundError, match="there is no key 0123456789ab"):
        trident("revoke", "0123456789ab")


def test_file_that_is_not_there_is_one_line(tmp_path):
    """On stderr, with the status of a user's mistake."""
    command = [sys.executable, "-m", "trident", "keys", "list", "--config", str(tmp_path / "none.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("trident: cannot read")
    assert ended.stderr.count("\n") == 1
