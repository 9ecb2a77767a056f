"""Certificate settings to an ``ssl.SSLContext``; used for both the HTTP side and the event stream."""

from __future__ import annotations

import ssl
from pathlib import Path

from domain.errors import ConfigError

_CERTIFICATE, _KEY = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----"


def tls_context(ca_file: str = "", client_certificate: str = "", client_key: str = "") -> ssl.SSLContext:
    """A context that always verifies chain and host name, TLS 1.2 or newer.

    ``ca_file`` replaces the system's authorities. ``client_key`` may be empty if the certificate file holds it; an
    encrypted key is refused, because nobody is there to type its password. Raises ConfigError, which begins with the
    key of the settings that is wrong.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"server.tls.ca_file: {ca_file} holds no certificates in PEM form: {_why(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_certificate:
        _identify(context, client_certificate, client_key)
    return context


def _identify(context: ssl.SSLContext, certificate: str, key: str) -> None:
    at_key = "server.tls.key_file" if key else "server.tls.cert_file"
    if _CERTIFICATE not in _read("server.tls.cert_file", certificate):
        raise ConfigError(f"server.tls.cert_file: {certificate} holds no certificate in PEM form")
    if _KEY not in _read(at_key, key or certificate):
        hint = "" if key else "; name the file that does in server.tls.key_file"
        raise ConfigError(f"{at_key}: {key or certificate} holds no private key in PEM form{hint}")
    try:
        context.load_cert_chain(certificate, key or None, password=_no_password)
    except (OSError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"{at_key}: the private key is not that of the certificate in {certificate}") from None
        raise ConfigError(f"{at_key}: {key or certificate} cannot be used: {_why(error)}") from None


def _read(name: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}: {file} cannot be read: {_why(error)}") from None


def _no_password() -> str:
    raise ValueError("the private key is encrypted; store it without a password, readable by the worker alone")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not understood").lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
