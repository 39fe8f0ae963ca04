"""`trident gateway` before it serves: its file, its one server, its address."""

from __future__ import annotations

import socket

import pytest
from typer.testing import CliRunner

from trident.cli import app
from trident.cli.gateway import greeting
from trident.errors import HostError, SettingsError
from trident.gateway.config_file import parse_config

FILE = """
[server]
{server}
[deployments.main]
url = "127.0.0.1:9"
[models.small]
deployments = {{main = 1}}
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gateway.toml"


def run(*arguments: str):
    return CliRunner().invoke(app, ["gateway", *arguments])


def test_a_file_can_be_checked_without_serving_it(path):
    path.write_text(FILE.format(server=""))
    result = run("--config", str(path), "--check")
    assert result.exit_code == 0
    assert f"next: trident gateway --config {path}" in result.stdout


def test_what_is_wrong_in_a_file_is_named_with_the_nearest_name(path):
    path.write_text(FILE.format(server="prot = 1"))
    result = run("--config", str(path), "--check")
    assert isinstance(result.exception, SettingsError)
    assert result.exception.message == "gateway.toml: unknown key 'server.prot'; did you mean 'port'?"


def test_several_workers_with_limits_need_redis(path):
    path.write_text(FILE.format(server="workers = 2"))
    result = run("--config", str(path), "--check")
    assert isinstance(result.exception, SettingsError)
    assert "server.redis" in result.exception.message


def test_a_port_that_is_taken_is_told_in_one_line(path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path.write_text(FILE.format(server=f"port = {port}"))
        result = run("--config", str(path))
    assert isinstance(result.exception, HostError)
    assert f"127.0.0.1:{port}" in result.exception.message


def test_without_a_file_both_ways_to_begin_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = run().exception.message
    assert "--config" in message
    assert "--triton" in message


def test_a_file_and_one_server_exclude_each_other(path):
    assert isinstance(run("--config", str(path), "--triton", "127.0.0.1:9").exception, SettingsError)


def test_one_server_needs_no_file(monkeypatch):
    result = run("--triton", "127.0.0.1:9", "--check")
    assert result.exit_code == 0
    assert "next: trident gateway --triton 127.0.0.1:9" in result.stdout


def test_without_keys_one_server_is_offered_to_this_machine_alone(monkeypatch):
    monkeypatch.setenv("TRIDENT_GATEWAY_HOST", "0.0.0.0")
    result = run("--triton", "127.0.0.1:9", "--check")
    assert isinstance(result.exception, SettingsError)
    assert "loopback" in result.exception.message


@pytest.mark.parametrize(
    ("server", "auth", "said"),
    [
        ({}, {"required": False}, "next: curl http://127.0.0.1:8080/v1/chat/completions"),
        ({"host": "::"}, {}, "authorization: Bearer"),
        ({"tls_cert": "a.pem", "tls_key": "a.key"}, {}, "https://127.0.0.1:8080"),
        ({"grpc_port": 9000}, {}, "127.0.0.1:9000"),
    ],
)
def test_where_it_listens_is_said_with_what_to_type_next(server, auth, said):
    values = {"deployments": {"main": {"url": "h:1"}}, "models": {"small": {"deployments": {"main": 1}}}}
    text = greeting(parse_config({**values, "server": server, "auth": auth}, environ={}), 8080)
    assert said in text
    assert '"model": "small"' in text
