"""Encrypted connections, and clients that prove themselves, over gRPC and HTTP; certificates are made for each test."""

import pytest

from trident.errors import SettingsError, UnavailableError
from trident_client import Client, Connection, Retry, Tls

from .certificates import SERVER_NAME, Authority
from .scripted_server import Say, ScriptedServer, ServerTls


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def start(authority):
    """Starts a server with a certificate of the authority's."""
    servers = []

    def start(*, client_ca=None, **issued):
        server = ScriptedServer(ServerTls(*authority.issue("server", **issued), client_ca))
        server.start()
        servers.append(server)
        server.script = [Say("a", "stop")]
        return server

    yield start
    for server in servers:
        server.stop()


def ask(server, protocol, tls, *, has_scheme=False, **options):
    url = server.grpc_url if protocol == "grpc" else server.http_url
    if has_scheme:
        url = f"{'grpcs' if protocol == 'grpc' else 'https'}://{url}"
    with Client(url, protocol, connection=Connection(tls=tls, **options), retry=Retry(0)) as client:
        return client.generate("Hi").text


@pytest.mark.parametrize("has_scheme", [False, True])
def test_a_server_of_the_given_authority_is_trusted(start, authority, protocol, has_scheme):
    assert ask(start(), protocol, Tls(ca_file=authority.ca_file), has_scheme=has_scheme) == "a"


def test_a_server_of_another_authority_is_not(start, tmp_path, protocol):
    other = Authority(tmp_path, "another")
    with pytest.raises(UnavailableError, match="no answer from"):
        ask(start(), protocol, Tls(ca_file=other.ca_file))


def test_a_server_that_is_not_encrypted_is_not_spoken_to(server, authority, protocol):
    with pytest.raises(UnavailableError, match="no answer from"):
        ask(server, protocol, Tls(ca_file=authority.ca_file), connect_timeout_s=0.5)
    assert server.requests == []


def test_the_name_in_the_certificate_may_be_given(start, authority, protocol):
    server = start(addresses=())
    with pytest.raises(UnavailableError):
        ask(server, protocol, Tls(ca_file=authority.ca_file))
    assert ask(server, protocol, Tls(ca_file=authority.ca_file, server_name=SERVER_NAME)) == "a"


def test_a_server_that_asks_for_it_gets_the_client_s_certificate(start, authority, protocol):
    server = start(client_ca=authority.ca_file)
    with pytest.raises(UnavailableError):
        ask(server, protocol, Tls(ca_file=authority.ca_file))
    cert_file, key_file = authority.issue("client")
    assert ask(server, protocol, Tls(authority.ca_file, cert_file, key_file)) == "a"


def test_a_file_that_is_not_there_is_named(protocol, tmp_path):
    with pytest.raises(SettingsError, match=r"nothing\.pem"):
        Client("127.0.0.1:1", protocol, connection=Connection(tls=Tls(tmp_path / "nothing.pem")))


def test_a_certificate_without_its_key_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="cert_file and key_file together"):
        Tls(cert_file=tmp_path / "client.pem")
