"""Compares the service with alternatives: `python -m benchmarks.bench [--quick] [--only NAME]`.

Each round starts every service afresh, one after another, so that disturbances of the machine
affect all of them. What counts are ratios within a run; RESULTS.md has them with their spread.
"""

import argparse
import io
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from benchmarks.chart import bars
from benchmarks.load import (
    BenchmarkError,
    Body,
    Measured,
    Service,
    installed,
    measure,
)
from benchmarks.promises import Row, promises
from server.settings import REPOSITORY

ENVIRONMENTS: Final = REPOSITORY / ".venv"
PEERS: Final = ENVIRONMENTS / "peers"
RESULTS: Final = REPOSITORY / "benchmarks" / "RESULTS.md"
CHART: Final = REPOSITORY / "docs" / "benchmark.svg"
PHOTO_SIZE: Final = (1200, 1600)
BOUNDARY: Final = "benchmark"
Runs = Mapping[tuple[str, str], list[Measured]]


def services() -> list[Service]:
    """Return what is measured: the floors, ours, and the peers whose environments exist."""
    here = ENVIRONMENTS / "bin" / "python"
    starlette = PEERS / "starlette_onnx" / "bin" / "python"
    uvicorn = ["-m", "uvicorn", "--port", "PORT", "--log-level", "warning"]
    found = [
        Service("floor", [*uvicorn, "benchmarks.peers.floors:app"], starlette),
        Service("ours", ["-m", "server"], here),
        Service(
            "Starlette + onnxruntime", [*uvicorn, "benchmarks.peers.starlette_onnx:app"], starlette
        ),
    ]
    bind = ["--bind", "127.0.0.1:PORT", "--log-level", "warning"]
    peers = {
        "fastapi_onnx": ("FastAPI + onnxruntime", [*uvicorn, "benchmarks.peers.fastapi_onnx:app"]),
        "fastapi_torch": ("FastAPI + PyTorch", [*uvicorn, "benchmarks.peers.fastapi_torch:app"]),
        "flask_onnx": (
            "Flask + onnxruntime, gunicorn",
            ["-m", "gunicorn", *bind, "benchmarks.peers.flask_onnx:app"],
        ),
        "litserve_onnx": ("LitServe + onnxruntime", ["-m", "benchmarks.peers.litserve_onnx"]),
        "bentoml_onnx": (
            "BentoML + onnxruntime",
            ["-m", "bentoml", "serve", "--port", "PORT", "benchmarks.peers.bentoml_onnx:Digits"],
        ),
    }
    for folder, (name, command) in peers.items():
        python = PEERS / folder / "bin" / "python"
        if python.exists():
            found.append(Service(name, command, python))
    return found


def bodies() -> dict[str, Body | None]:
    """Return the request bodies by name: none, a 28 x 28 PNG in a form and bare, and a photo."""
    small = (REPOSITORY / "tests" / "data" / "mnist-7.png").read_bytes()
    return {
        "GET": None,
        "form": form(small, "7.png", "image/png"),
        "bare": Body(small, "image/png"),
        "photo": form(photo(), "7.jpg", "image/jpeg"),
    }


def form(data: bytes, name: str, content_type: str) -> Body:
    """Return a form with a file, as a browser posts it."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    whole = head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
    return Body(whole, f"multipart/form-data; boundary={BOUNDARY}")


def batch(data: bytes, count: int) -> Body:
    """Return one form with `count` copies of a PNG."""
    parts = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="{k}.png"'
        "\r\nContent-Type: image/png\r\n\r\n".encode()
        + data
        + b"\r\n"
        for k in range(count)
    )
    return Body(parts + f"--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}")


def photo() -> bytes:
    """Return a JPEG of PHOTO_SIZE: a digit on paper with a phone camera's noise, about 300 kB."""
    digit = Image.open(REPOSITORY / "tests" / "data" / "7.png").convert("L")
    page = Image.new("L", PHOTO_SIZE, 215)
    page.paste(digit.resize((900, 900), Image.Resampling.BICUBIC), (150, 350))
    page = Image.blend(page, Image.effect_noise(PHOTO_SIZE, 30), 0.12)
    stream = io.BytesIO()
    page.convert("RGB").save(stream, "JPEG", quality=85)
    return stream.getvalue()


def bodies_for(service: Service, is_quick: bool) -> list[str]:
    """Return the names of the bodies a service is sent: GET for the floor, bare for ours only."""
    if service.name == "floor":
        return ["GET", "form"]
    if service.name == "ours":
        return ["form", "bare", "photo"]
    return ["form"] if is_quick else ["form", "photo"]


def run(chosen: Sequence[Service], rounds: int, seconds: float, is_quick: bool) -> Runs:
    """Return the measurements for each service and body, one a round; prints progress.

    A service that cannot be measured is reported and skipped, so that the others' figures survive.
    """
    sent = bodies()
    found: dict[tuple[str, str], list[Measured]] = {}
    jobs = [(service, name) for service in chosen for name in bodies_for(service, is_quick)]
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for service, name in jobs:
                try:
                    figures = measure(service, sent[name], 8, seconds, Path(folder))
                except BenchmarkError as error:
                    print(f"round {number + 1}  skipped: {error}", file=sys.stderr)
                    continue
                found.setdefault((service.name, name), []).append(figures)
                print(
                    f"round {number + 1}  {service.name:30} {name:6} {figures.rate:8,.0f}/s "
                    f"{figures.cpu:8,.0f} us  p99 {figures.p99:6.1f} ms",
                    flush=True,
                )
    return found


def table(found: Runs, sizes: Mapping[str, float]) -> list[str]:
    """Return the figures as Markdown: medians over the rounds, and the range of the rates."""
    floor = _median(found["floor", "GET"], "cpu")
    rows = [
        "| service | sent | requests/s | CPU per request | x constant GET | p50 / p99 | PSS "
        "ready / after | first answer | installed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (service, sent), runs in found.items():
        rates = [one.rate for one in runs]
        cpu = _median(runs, "cpu")
        rows.append(
            f"| {service} | {sent} | {statistics.median(rates):,.0f} "
            f"({min(rates):,.0f} to {max(rates):,.0f}) | {cpu:,.0f} us | {cpu / floor:.1f} "
            f"| {_median(runs, 'p50'):.1f} / {_median(runs, 'p99'):.1f} ms "
            f"| {_median(runs, 'idle'):.0f} / {_median(runs, 'after'):.0f} MB "
            f"| {_median(runs, 'start'):.2f} s | {sizes[service]:.0f} MB |"
        )
    return rows


def promise_table(rows: Sequence[Row]) -> list[str]:
    """Return the promises other than speed as Markdown."""
    return ["| ours | measured |", "| --- | --- |", *(f"| {what} | {how} |" for what, how in rows)]


def report(
    found: Runs, sizes: Mapping[str, float], kept: Sequence[Row], rounds: int, seconds: float
) -> str:
    """Return RESULTS.md."""
    return "\n".join(
        [
            "# The service compared with alternatives",
            "",
            "Written by `make bench`. Each service has one core and one worker, wrk the other core",
            f"and 8 connections; medians of {rounds} rounds of {seconds:.0f} s, each of "
            "which starts every service afresh.",
            "*form*: a 28 x 28 PNG as a form's file. *bare*: the same as the body. *photo*: a JPEG",
            "of 1200 x 1600 pixels. All use our classifier. The peers do as tutorials do: they",
            "shrink the picture to 28 x 28 and classify it; ours also finds the digits, logs and",
            "counts each request and enforces its limits. *floor* answers without reading a",
            "picture. By default onnxruntime pins its threads to cores that it chooses, so some",
            "peers used both cores: compare the processor time per request. Memory is measured",
            "at rest, two seconds after the first answer and after the load.",
            "",
            *table(found, sizes),
            "",
            *promise_table(kept),
            "",
            f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
            "the packages' versions are in",
            "`requirements.txt` and `benchmarks/peers/*.txt`.",
            "",
        ]
    )


def _promises(seconds: float) -> list[Row]:
    (ours,) = (service for service in services() if service.name == "ours")
    small = (REPOSITORY / "tests" / "data" / "mnist-7.png").read_bytes()
    count = 64
    with tempfile.TemporaryDirectory() as folder:
        alone = form(small, "7.png", "image/png")
        return promises(ours, alone, (batch(small, count), count), seconds, Path(folder))


def _median(runs: Sequence[Measured], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in runs))


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ours and the floors; two minutes")
    parser.add_argument("--only", metavar="TEXT", help="only alternatives with this in their name")
    arguments = parser.parse_args(argv)
    chosen = [
        service
        for service in services()
        if service.name in ("floor", "ours")
        or not (arguments.quick or arguments.only)
        or (arguments.only and arguments.only in service.name)
    ]
    rounds, seconds = (1, 3) if arguments.quick else (3, 5)
    found = run(chosen, rounds, seconds, arguments.quick)
    if ("floor", "GET") not in found:
        return 1
    sizes = {service.name: installed(service.python) for service in chosen}
    kept = _promises(seconds)
    print("\n".join(["", *table(found, sizes), "", *promise_table(kept)]))
    if not (arguments.quick or arguments.only):
        RESULTS.write_text(report(found, sizes, kept, rounds, seconds))
        rates = {
            name: 1e6 / _median(runs, "cpu")
            for (name, sent), runs in found.items()
            if sent == "form" and name != "floor"
        }
        CHART.write_text(bars("Requests per second of processor time, a PNG in a form", rates))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
