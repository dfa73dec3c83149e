"""The service on Ray Serve: `serve deploy deploy/ray/digits.yaml`, from the repository."""

from collections.abc import Mapping
from typing import Any, Final

from ray import serve
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.app import create_app
from server.recognize import load_recognizer
from server.settings import load_settings
from server.state import Readiness

_REQUEST_ID = b"x-request-id"


class OnServe:
    """Adapts the application to Ray Serve, which differs from other ASGI servers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the lifespan, or answer a request with the lifespan's state."""
        if scope["type"] == "lifespan":
            self._state = scope["state"]
            await self._app(scope, receive, send)
            return

        async def send_without_id(message: Message) -> None:
            # Serve adds this header itself, with the ID that it put into the request.
            if message["type"] == "http.response.start":
                headers = [pair for pair in message["headers"] if pair[0].lower() != _REQUEST_ID]
                message = {**message, "headers": headers}
            await send(message)

        # Serve does not pass the lifespan's state to requests.
        await self._app({**scope, "state": dict(self._state)}, receive, send_without_id)


class Replica:
    """A replica: one process that serves requests."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Load the networks.

        Args:
            environ: the settings, as in the environment of `python -m server`.
        """
        self._settings = load_settings(environ)
        self._recognizer = load_recognizer(self._settings)
        self._readiness = Readiness()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the same application that `python -m server` serves."""
        return OnServe(create_app(self._recognizer, self._settings, self._readiness))

    def check_health(self) -> None:
        """Raise if the replica is not ready; Serve then replaces it."""
        if not self._readiness.is_ready:
            raise RuntimeError("no picture has been read yet")


DIGITS: Final = serve.deployment(
    name="digits",
    # At least two, so that one may die. Each has one CPU; Serve adds replicas when they have more
    # than four ongoing requests on average.
    autoscaling_config={
        "min_replicas": 2,
        "max_replicas": 64,
        "target_ongoing_requests": 4,
        "upscale_delay_s": 5,
        "downscale_delay_s": 300,
    },
    # As many as a replica queues (DIGIT_MAX_WAITING). Serve queues up to 128 more, and answers 503
    # beyond that.
    max_ongoing_requests=32,
    max_queued_requests=128,
    ray_actor_options={"num_cpus": 1, "memory": 400 * 2**20},
    health_check_period_s=5,
    health_check_timeout_s=10,
    graceful_shutdown_timeout_s=10,
)(serve.ingress()(Replica))


def digits(environ: dict[str, str]) -> serve.Application:
    """Return the Serve application; `args` in digits.yaml are its settings."""
    return DIGITS.bind(environ)
