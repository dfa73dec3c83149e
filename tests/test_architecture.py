"""The dependency rules that keep the code easy to follow, checked from the sources."""

import ast
import json
import subprocess
import sys

import pytest

from server.settings import REPOSITORY

SERVER = REPOSITORY / "server"
NAMES = sorted(
    ".".join(path.relative_to(SERVER).with_suffix("").parts) for path in SERVER.rglob("*.py")
)
MODULES = [name for name in NAMES if not name.endswith("__init__")]
PACKAGES = [name for name in NAMES if name.endswith("__init__")]

# The imports of each module: our own modules, and third-party packages.
OURS = {
    "__main__": {
        "app",
        "batch.output",
        "batch.read",
        "doctor",
        "health",
        "listener",
        "machine",
        "master",
        "memory",
        "model",
        "protocol",
        "recognize",
        "settings",
        "state",
        "telemetry",
    },
    "admission": {"errors", "metrics"},
    "agreement": {"answer"},
    "answer": set(),
    "app": {
        "admission",
        "connection",
        "errors",
        "image",
        "inference",
        "memory",
        "metrics",
        "openapi",
        "pages",
        "problems",
        "recognize",
        "reporting",
        "security",
        "settings",
        "state",
        "telemetry",
        "uploads",
        "v2",
        "worker",
    },
    "batch.files": set(),
    "batch.output": set(),
    "batch.processes": set(),
    "batch.progress": set(),
    "batch.read": {
        "batch.files",
        "batch.output",
        "batch.processes",
        "batch.progress",
        "errors",
        "machine",
        "recognize",
        "settings",
    },
    "connection": {"errors", "problems"},
    "cost": {"errors", "header", "webp"},
    "deadline": set(),
    "docs": set(),
    "doctor": {"machine", "model", "recognize", "settings"},
    "errors": set(),
    "flow": set(),
    "forms": {"errors"},
    "header": set(),
    "health": {"settings"},
    "image": {"cost", "errors", "header"},
    "inference": {"answer", "errors", "header", "model", "state", "tensors", "uploads"},
    "listener": set(),
    "machine": {"settings"},
    "master": set(),
    "memory": set(),
    "metrics": set(),
    "model": set(),
    "openapi": {"errors", "settings"},
    "pages": {"docs", "errors"},
    "problems": {"errors"},
    "protocol": {"deadline", "errors", "flow", "settings", "telemetry"},
    "recognize": {"agreement", "answer", "image", "model", "settings"},
    "reporting": {"settings"},
    "security": {"errors", "problems"},
    "settings": set(),
    "state": {"admission", "metrics", "recognize", "settings", "telemetry", "worker"},
    "telemetry": {"metrics", "problems"},
    "tensors": {"errors"},
    "uploads": {"errors", "forms", "header", "settings"},
    "v2": {"connection", "errors", "inference", "state", "tensors", "uploads"},
    "vp8l": {"errors"},
    "webp": {"vp8l"},
    "worker": {"memory"},
}
OTHERS = {
    "__main__": {"uvicorn"},
    "agreement": {"numpy"},
    "answer": {"numpy"},
    "app": {"starlette"},
    "connection": {"starlette"},
    "cost": {"PIL"},
    "flow": {"uvicorn"},
    "image": {"PIL", "numpy"},
    "inference": {"numpy"},
    "metrics": {"prometheus_client"},
    "model": {"numpy", "onnxruntime"},
    "pages": {"starlette"},
    "problems": {"starlette"},
    "protocol": {"httptools", "uvicorn"},
    "recognize": {"numpy"},
    "security": {"starlette"},
    "telemetry": {"starlette"},
    "tensors": {"numpy"},
    "uploads": {"starlette"},
    "v2": {"starlette"},
}


def tree_of(module: str) -> ast.Module:
    return ast.parse((SERVER / f"{module.replace('.', '/')}.py").read_text())


def imported(tree: ast.AST) -> set[str]:
    """Return the full names of the modules that a tree imports."""
    nodes = list(ast.walk(tree))
    plain = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    return plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("module", MODULES)
def test_imports(module: str) -> None:
    """Each module imports what the table says, and nothing else."""
    names = imported(tree_of(module))
    roots = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"server"}

    assert {name.removeprefix("server.") for name in names if name.startswith("server")} == OURS[
        module
    ]
    assert roots == OTHERS.get(module, set())


def test_no_cycles() -> None:
    """No imports are circular."""
    left = {module: set(ours) for module, ours in OURS.items()}
    while free := {module for module, ours in left.items() if not ours & left.keys()}:
        for module in free:
            del left[module]

    assert not left


@pytest.mark.parametrize("module", MODULES)
def test_imports_are_at_the_top(module: str) -> None:
    """No function contains an import."""
    functions = [
        n
        for n in ast.walk(tree_of(module))
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert not any(imported(function) for function in functions)


@pytest.mark.parametrize("package", PACKAGES)
def test_init_is_a_docstring(package: str) -> None:
    """A package's `__init__.py` has only a docstring."""
    assert len(tree_of(package).body) == 1


def test_server_needs_no_training() -> None:
    """The server imports neither torch, nor onnx, nor export."""
    code = "import server.__main__, sys; print(*sys.modules)"

    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=REPOSITORY)

    assert not {"torch", "onnx", "export"} & set(loaded.split())


# Imports each module in its own process, without the other modules; forked, because the
# third-party packages take much longer to load than our modules.
IMPORTING = """
import json, os, sys
import numpy, PIL.Image, onnxruntime, starlette.applications, uvicorn, asyncio
import prometheus_client, starlette.middleware.cors
opened = []
def watch(event, args):
    if event == "open" and not str(args[0]).endswith((".py", ".pyc", ".so")):
        opened.append(str(args[0]))
    if event.startswith("socket."):
        opened.append(event)
for module in sys.argv[1:]:
    if not os.fork():
        sys.addaudithook(watch)
        __import__(f"server.{module}")
        print(json.dumps([module, opened]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def importing() -> dict[str, list[str]]:
    """The files and sockets that importing each module opens, except for code."""
    command = [sys.executable, "-c", IMPORTING, *MODULES]
    output = subprocess.check_output(command, text=True, cwd=REPOSITORY)
    return dict(map(json.loads, output.splitlines()))


@pytest.mark.parametrize("module", MODULES)
def test_importing_does_nothing(module: str, importing: dict[str, list[str]]) -> None:
    """Importing a module prints nothing and opens nothing."""
    assert importing[module] == []
