"""TLS to a broker: which authorities are believed, and the certificate we show."""

from __future__ import annotations

import ssl

from agent.config.mqtt import BrokerTable
from agent.errors import ConfigError


def context(broker: BrokerTable) -> ssl.SSLContext:
    """TLS 1.2 or later, as the table says. Raises ConfigError where a file cannot be used."""
    try:
        made = ssl.create_default_context(cafile=broker.ca and str(broker.ca))
    except (OSError, ValueError) as error:
        raise _unusable(broker, "ca", "certificates of authorities", error) from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.check_hostname = broker.verify_name
    if broker.certificate is not None and broker.key is not None:
        try:
            made.load_cert_chain(str(broker.certificate), str(broker.key), password=_no_password)
        except (OSError, ValueError) as error:
            raise _unusable(broker, "certificate", "a certificate with its key", error) from error
    return made


def _no_password() -> str:
    """A key behind a password would make OpenSSL ask the terminal."""
    raise ValueError("the key is encrypted; the agent starts without a person at hand")


def _unusable(broker: BrokerTable, option: str, what: str, error: Exception) -> ConfigError:
    path = getattr(broker, option)
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return ConfigError(
            f"{broker.name}: key {broker.key} is not that of certificate {path}",
            "give both of the same issue",
        )
    reason = getattr(error, "strerror", None) or str(error)
    return ConfigError(
        f"{broker.name}: {option} {path} cannot be used as {what}: {reason}",
        "it must be PEM, readable by the user of the service; a key must not need a password",
    )
