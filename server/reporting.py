"""Reports unexpected exceptions to Sentry if SENTRY_DSN is set, with no data of the request."""

from collections.abc import Callable
from importlib import import_module

from server.settings import InvalidSettings

Report = Callable[[Exception], object]


def fault_reporter(dsn: str) -> Report:
    """Return a function that reports an unexpected exception.

    Args:
        dsn: Sentry's address; if it is empty, nothing is reported, and Sentry's library not loaded.

    Raises:
        InvalidSettings: the library is not installed, or the DSN is invalid.
    """
    if not dsn:
        return lambda error: None
    try:
        sentry = import_module("sentry_sdk")
    except ImportError as error:
        raise InvalidSettings(
            "SENTRY_DSN is set, but sentry-sdk is not there: pip install -r requirements-sentry.txt"
        ) from error
    try:
        sentry.init(
            dsn,
            # Integrations and the local variables of a traceback would contain pictures.
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            max_request_body_size="never",
        )
    except ValueError as error:
        raise InvalidSettings(f"SENTRY_DSN={dsn!r}: must be a Sentry DSN") from error
    report: Report = sentry.capture_exception
    return report
