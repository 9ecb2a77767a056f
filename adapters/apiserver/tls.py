"""Certificate settings to an ``ssl.SSLContext``; used for both the HTTP side and the event stream."""

from __future__ import annotations

import ssl

from domain.errors import ConfigError


def tls_context(ca_file: str = "", client_certificate: str = "", client_key: str = "") -> ssl.SSLContext:
    """A context that always verifies chain and host name, TLS 1.2 or newer. Raises ConfigError.

    ``ca_file`` replaces the system's authorities. ``client_key`` may be empty if the certificate file holds it; an
    encrypted key is refused, because nobody is there to type its password.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"server.tls.ca_file: cannot read certificates from {ca_file}: {_why(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_certificate:
        try:
            context.load_cert_chain(client_certificate, client_key or None, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"server.tls.cert_file: cannot load {client_certificate} with its key: {_why(error)}"
            ) from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; store it without a password")


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
