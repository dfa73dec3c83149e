"""Checks whether a server on this machine is ready: `python -m server health`, for containers.

`python -m server.health` does the same without importing what serving needs, in 17 MB and a third
of the time. That matters if it runs every few seconds beside a server in 128 MB.
"""

import http.client
import os
import sys
from collections.abc import Mapping
from http import HTTPStatus

from server.settings import InvalidSettings, load_settings

_TIMEOUT_SECONDS = 3
# The wildcard addresses, on which one can listen, but to which one cannot connect.
_ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def check_health(environ: Mapping[str, str]) -> int:
    """Ask the server with this environment; return the exit status, 0 if it is ready."""
    try:
        settings = load_settings(environ)
    except InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
        return 1
    host = _ALL_ADDRESSES.get(settings.host, settings.host)
    link = http.client.HTTPConnection(host, settings.port, timeout=_TIMEOUT_SECONDS)
    try:
        link.request("GET", "/readyz")
        status = link.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"Nobody answers on {host}:{settings.port}: {error}\n")
        return 1
    finally:
        link.close()
    if status != HTTPStatus.OK:
        sys.stderr.write(f"The server is not ready: /readyz answers {status}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(check_health(os.environ))
