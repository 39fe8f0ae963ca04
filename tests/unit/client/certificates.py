"""Certificates of a test: an authority of its own, a server's and a client's. Nothing is kept."""

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SERVER_NAME = "triton.example"


class Authority:
    """Signs, and writes PEM files into a folder."""

    def __init__(self, folder, name="authority"):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.ca_file = self._write(f"{name}.pem", self._sign(self._name, self._key, is_ca=True))

    def issue(self, name, *, addresses=("127.0.0.1",), names=(SERVER_NAME,)):
        """A certificate and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        others = [x509.IPAddress(ip_address(each)) for each in addresses] + [x509.DNSName(each) for each in names]
        cert = self._sign(_named(name), key, is_ca=False, others=others)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._write(f"{name}.pem", cert), self._write(f"{name}.key", pem)

    def _sign(self, name, key, *, is_ca, others=()):
        now = datetime.now(timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if others:
            builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _write(self, name, pem):
        path = self._folder / name
        path.write_bytes(pem)
        return path


def _named(name):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
