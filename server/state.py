"""The state that the endpoints share, as `request.state`."""

from dataclasses import dataclass
from typing import TypedDict

from server.admission import Admission
from server.metrics import Metrics
from server.recognize import Recognizer
from server.settings import Settings
from server.telemetry import Record
from server.worker import Worker


@dataclass
class Readiness:
    """Whether requests should be sent to the service: it is warm, and not about to stop."""

    is_warm: bool = False
    is_draining: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether it is warm and not draining."""
        return self.is_warm and not self.is_draining


class State(TypedDict):
    """What the lifespan passes to the endpoints; each request has its own record."""

    recognizer: Recognizer
    worker: Worker
    admission: Admission
    settings: Settings
    readiness: Readiness
    metrics: Metrics
    record: Record
