"""Certificates for servers on loopback, made anew by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def made_certificates(folder: Path) -> Path:
    """Make `good.pem` and `other-name.pem`, both in `trusted.pem`, and `unknown.pem`, each with its key in it."""
    for name, subject in (("good", "IP:127.0.0.1"), ("other-name", "DNS:other.test"), ("unknown", "IP:127.0.0.1")):
        made = (
            "-keyout",
            f"{folder}/{name}.key",
            "-out",
            f"{folder}/{name}.crt",
            "-addext",
            f"subjectAltName={subject}",
        )
        new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1")
        subprocess.run(("openssl", *new, "-subj", f"/CN={name}", *made), check=True, capture_output=True)
        (folder / f"{name}.pem").write_text((folder / f"{name}.key").read_text() + (folder / f"{name}.crt").read_text())
    trusted = [(folder / f"{name}.crt").read_text() for name in ("good", "other-name")]
    (folder / "trusted.pem").write_text("".join(trusted))
    return folder


def serving_as(certificate: Path) -> ssl.SSLContext:
    """Return what a server needs to speak TLS with `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
