"""What the endpoints share, as `request.state` gives it to them."""

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
    """Whether the service should be sent requests: warm, and not about to stop."""

    is_warm: bool = False
    is_draining: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether it is warm and not draining."""
        return self.is_warm and not self.is_draining


class State(TypedDict):
    """What the lifespan gives to the endpoints; the record is each request's own."""

    recognizer: Recognizer
    worker: Worker
    admission: Admission
    settings: Settings
    readiness: Readiness
    metrics: Metrics
    record: Record
