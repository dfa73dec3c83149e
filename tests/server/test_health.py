"""The health check of containers, against a real server and other programs."""

import socket
import subprocess
import sys
import threading

import pytest

from server.__main__ import main
from server.settings import REPOSITORY
from tests.processes import serving


def test_ready_and_stopping(capsys: pytest.CaptureFixture[str]) -> None:
    """A running server is ready; one that is stopping is not."""
    with serving({"DIGIT_DRAIN_SECONDS": "3"}) as service:
        environ = {"PORT": str(service.port)}
        assert main(["health"], environ) == 0
        service.process.terminate()
        link = socket.create_connection(("127.0.0.1", service.port))
        link.close()
        while main(["health"], environ) == 0:
            pass

    assert "503" in capsys.readouterr().err


def test_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """It fails if nothing listens on the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    assert main(["health"], {"PORT": port, "DIGIT_HOST": "127.0.0.1"}) == 1
    assert "Nobody answers" in capsys.readouterr().err


def test_no_http(capsys: pytest.CaptureFixture[str]) -> None:
    """It fails if something answers that is not HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            link, _ = listener.accept()
            with link:
                link.recv(1024)
                link.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["health"], {"PORT": str(listener.getsockname()[1])}) == 1
        thread.join()


@pytest.mark.parametrize(("variable", "text"), [("PORT", "x"), ("DIGIT_HOST", "a..b")])
def test_bad_settings(variable: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Invalid settings are reported."""
    assert main(["health"], {variable: text}) == 1
    assert f"{variable}='{text}'" in capsys.readouterr().err


def test_light() -> None:
    """As `python -m server.health`, it imports nothing that serving needs."""
    code = "import server.health, sys; print(*sys.modules)"

    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=REPOSITORY)

    assert not {"numpy", "onnxruntime", "starlette", "uvicorn", "PIL"} & set(loaded.split())
