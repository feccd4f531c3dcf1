# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests with TLS, made by openssl. The fixture `certificates` makes the usual ones once for a run."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

EXTENSIONS = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n"
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
    """Certificates in a folder. `ca` has issued `good`, `client` and `ended`, which was valid until 2021;
    `other-ca` has issued `bad`. `garbage` is a file that is no certificate.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, issuer in (("ca", "ca"), ("good", "ca"), ("client", "ca"), ("other-ca", "other-ca"),
                             ("bad", "other-ca")):  # fmt: skip
            certificate(folder, name, issuer)
        certificate(folder, "ended", "ca", period=("200101000000Z", "210101000000Z"))
        (folder / "garbage").write_text("no certificate")

    def identity(self, name: str = "good", ca: str = "ca") -> Identity:
        return Identity(*(str(self.folder / file) for file in (f"{ca}.crt", f"{name}.crt", f"{name}.key")))


def certificate(folder: Path, name: str, issuer: str, period: tuple[str, str] | None = None) -> None:
    """Write NAME.crt and NAME.key, a certificate that `issuer` has signed, or that is self-signed.

    It is valid for both sides of a connection to 127.0.0.1 or localhost. period: from when until when, as in ASN.1, in
    UTC; None: from now on for two days.
    """
    subject = ["-subj", f"/CN={name}", "-days", "2"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"]
    if name == issuer:
        openssl(folder, "req", "-x509", *key, *subject, "-out", f"{name}.crt")
        return
    openssl(folder, "req", "-new", *key, "-subj", f"/CN={name}", "-out", f"{name}.csr")
    (folder / "extensions").write_text(EXTENSIONS)
    if period is None:
        openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key",
            "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", f"{name}.crt",
        )  # fmt: skip
        return
    (folder / "authority").write_text(AUTHORITY + EXTENSIONS)
    (folder / "index").write_text("")
    openssl(
        folder, "ca", "-batch", "-config", "authority", "-in", f"{name}.csr", "-cert", f"{issuer}.crt", "-keyfile",
        f"{issuer}.key", "-startdate", period[0], "-enddate", period[1], "-notext", "-out", f"{name}.crt",
    )  # fmt: skip


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, capture_output=True, timeout=60, check=True)
