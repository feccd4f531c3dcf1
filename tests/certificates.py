# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests with TLS, made by openssl. The fixture `certificates` makes the usual ones once for a run."""

from dataclasses import dataclass
from pathlib import Path

from chainredis.local_cluster.certificates import EXTENSIONS, NEW_KEY, certificate, openssl

# `openssl x509` signs nothing that has ended already; `openssl ca` does, and wants a file of its own.
AUTHORITY = """[ca]
default_ca = it
[it]
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
x509_extensions = of
[any]
commonName = supplied
[of]
"""


@dataclass(frozen=True)
class Identity:
    """The names of three PEM files: whom one trusts, one's own certificate, and its key."""

    ca: str
    cert: str
    key: str

    @property
    def server(self) -> dict[str, str]:
        """Settings of a redis-server, without ports."""
        return {"tls-ca-cert-file": self.ca, "tls-cert-file": self.cert, "tls-key-file": self.key}

    @property
    def client(self) -> dict[str, str]:
        """Arguments of a connection of redis-py."""
        own = {"ssl_certfile": self.cert, "ssl_keyfile": self.key} if self.cert else {}
        return {"ssl_ca_certs": self.ca, **own}

    @property
    def cli(self) -> list[str]:
        """Arguments of redis-cli and redis-benchmark."""
        return ["--tls", "--cacert", self.ca, "--cert", self.cert, "--key", self.key]


class Certificates:
    """Certificates in a folder. `ca` has issued `good`, `client` and `ended`, which was valid in 2020;
    `other-ca` has issued `bad`. `garbage` is a file that is no certificate.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, issuer in (("ca", "ca"), ("good", "ca"), ("client", "ca"), ("other-ca", "other-ca"),
                             ("bad", "other-ca")):  # fmt: skip
            certificate(folder, name, issuer)
        ended_certificate(folder, "ended", "ca")
        (folder / "garbage").write_text("no certificate")

    def identity(self, name: str = "good", ca: str = "ca") -> Identity:
        return Identity(*(str(self.folder / file) for file in (f"{ca}.crt", f"{name}.crt", f"{name}.key")))


def ended_certificate(folder: Path, name: str, issuer: str) -> None:
    """As `certificate`, but for the year 2020."""
    subject = ["-subj", f"/CN={name}", "-keyout", f"{name}.key"]
    openssl(folder, "req", "-new", *NEW_KEY, *subject, "-out", f"{name}.csr")
    (folder / "authority").write_text(AUTHORITY + EXTENSIONS)
    (folder / "index").write_text("")
    openssl(
        folder, "ca", "-batch", "-config", "authority", "-in", f"{name}.csr", "-cert", f"{issuer}.crt", "-keyfile",
        f"{issuer}.key", "-startdate", "200101000000Z", "-enddate", "210101000000Z", "-notext", "-out", f"{name}.crt",
    )  # fmt: skip
