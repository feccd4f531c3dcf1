# SPDX-License-Identifier: Apache-2.0
"""Certificates for servers on this machine, made by openssl."""

import subprocess
from pathlib import Path

from chainredis.local_cluster.process import LauncherError
from chainredis.transport.tls import Tls

TIMEOUT_S = 60
EXTENSIONS = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n"
NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def throw_away(folder: Path) -> Tls:
    """An authority, and a certificate of it for all servers and clients on this machine. They are valid for two days.

    LauncherError if openssl is missing, or fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    certificate(folder, "ca", "ca")
    certificate(folder, "server", "ca")
    here = folder.resolve()
    return Tls(f"{here}/ca.crt", f"{here}/server.crt", f"{here}/server.key")


def certificate(folder: Path, name: str, issuer: str) -> None:
    """Write NAME.crt and NAME.key: a certificate that `issuer` has signed, or that is self-signed.

    It is valid for two days, for both sides of a connection to 127.0.0.1 or localhost.
    """
    subject = ["-subj", f"/CN={name}", "-keyout", f"{name}.key"]
    if name == issuer:
        openssl(folder, "req", "-x509", *NEW_KEY, *subject, "-days", "2", "-out", f"{name}.crt")
        return
    openssl(folder, "req", "-new", *NEW_KEY, *subject, "-out", f"{name}.csr")
    (folder / "extensions").write_text(EXTENSIONS)
    openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key",
        "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", f"{name}.crt",
    )  # fmt: skip


def openssl(folder: Path, *words: str) -> None:
    try:
        subprocess.run(["openssl", *words], cwd=folder, capture_output=True, timeout=TIMEOUT_S, check=True)
    except FileNotFoundError:
        raise LauncherError("openssl is not installed, which makes the certificates") from None
    except subprocess.CalledProcessError as error:
        raise LauncherError(f"openssl {' '.join(words)}: {error.stderr.decode(errors='replace')}") from error
