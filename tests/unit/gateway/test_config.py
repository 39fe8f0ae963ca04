"""The gateway's file: what is in it is checked, and what is wrong is named."""

from __future__ import annotations

import pytest

from trident.errors import SettingsError
from trident.gateway.config import GatewayConfig
from trident.gateway.config_file import parse_config, read_config

SMALL = {"deployments": {"main": {"url": "h:1"}}, "models": {"small": {"deployments": {"main": 1}}}}


def parse(environ: dict[str, str] | None = None, **values: object) -> GatewayConfig:
    return parse_config({**SMALL, **values}, "gateway.toml", environ or {})


def fault(environ: dict[str, str] | None = None, **values: object) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(environ, **values)
    return caught.value.message


def test_a_deployment_and_a_model_are_enough():
    config = parse()
    assert config.auth.required
    assert config.server.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"server": {"prot": 1}}, "unknown key 'server.prot'; did you mean 'port'?"),
        ({"sever": {}}, "unknown key 'sever'; did you mean 'server'?"),
        ({"server": {"port": 70000}}, "server.port: "),
        ({"server": {"tls_cert": "a.pem"}}, "tls_cert and tls_key go together"),
        ({"deployments": {"main": {"ur": "h:1"}}}, "unknown key 'deployments.main.ur'; did you mean 'url'?"),
        ({"models": {"m": {"deployments": {"mian": 1}}}}, "no deployment 'mian'; did you mean 'main'?"),
        ({"models": {"m": {"deployments": {"main": 1}, "aliases": ["m"]}}}, "'m' is the name or alias of two models"),
        ({"rules": [{"name": "r", "use_model": "smal"}]}, "no model 'smal'; did you mean 'small'?"),
        ({"server": {"workers": 2}}, "set server.redis"),
        ({"auth": {"jwt": {"issuer": "i", "audience": "a", "jwks_url": "http://i"}}}, "https://"),
        ({"ledger": {"contnt": "full"}}, "unknown key 'ledger.contnt'; did you mean 'content'?"),
        ({"auth": {"jwt": {"isuer": "i"}}}, "unknown key 'auth.jwt.isuer'; did you mean 'issuer'?"),
        ({"rules": [{"name": "r", "use_model": "small", "when": {"modle": "small"}}]}, "did you mean 'model'?"),
        ({"server": 8080}, "server: "),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_wrong_is_named_with_the_nearest_name(values, said):
    assert said in fault(**values)
    assert fault(**values).startswith("gateway.toml: ")


def test_a_variable_wins_over_the_file():
    environ = {"TRIDENT_GATEWAY_PORT": "9001", "TRIDENT_GATEWAY_JSON_LOGS": "false", "TRIDENT_HTTP_PORT": "1"}
    server = parse(environ, server={"port": 9000}).server
    assert (server.port, server.json_logs) == (9001, False)


def test_lists_in_variables_are_separated_by_commas():
    environ = {"TRIDENT_GATEWAY_CORS_ORIGINS": "https://a,https://b", "TRIDENT_GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8"}
    server = parse(environ).server
    assert server.cors_origins == ("https://a", "https://b")
    assert server.trusted_proxies == ("10.0.0.0/8",)


def test_an_unknown_variable_is_named_with_the_nearest():
    assert "did you mean 'TRIDENT_GATEWAY_PORT'?" in fault({"TRIDENT_GATEWAY_PROT": "1"})


def test_several_workers_share_limits_through_redis_or_have_none():
    assert parse(server={"workers": 2, "redis": "redis://r"}).server.workers == 2
    assert parse(server={"workers": 2}, auth={"required": False}).server.workers == 2
    assert "redis" in fault(server={"workers": 2}, auth={"required": False}, limits={"requests_per_minute": 5})


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for content in (None, b"[server", b"\xff"):
        path = tmp_path / "gateway.toml"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SettingsError, match=r"gateway\.toml"):
            read_config(path, {})
