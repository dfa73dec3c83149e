"""Training state on disk: an interrupted export resumes and ends in the same bytes.

`export.train.fit` is the loop that does this: it loads the state if there is one, seeds everything
random with the step's number, and saves between steps.
"""

import ast
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from export.files import write_atomically

State = dict[str, Any]
"""Tensors, numbers, strings, and lists and dicts of them: what torch loads without running code."""

FINGERPRINT_DIGITS = 12


class Checkpoint:
    """One file with the state of one training run, replaced from time to time."""

    def __init__(
        self,
        path: Path,
        every_seconds: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the path; nothing is read or written yet.

        Args:
            path: the file.
            every_seconds: the most work that an interruption may lose.
            clock: a monotonic clock, in seconds.
        """
        self._path = path
        self._every_seconds = every_seconds
        self._clock = clock
        self._saved = clock()

    def load(self) -> State | None:
        """Return the last saved state, on the CPU, or None if there is none."""
        if not self._path.exists():
            return None
        # weights_only: a checkpoint is data and must not run code when it is read.
        state: State = torch.load(self._path, map_location="cpu", weights_only=True)
        return state

    def step(self) -> int:
        """Return the number of steps done in the last saved state; 0 if there is none."""
        state = self.load()
        return 0 if state is None else int(state["step"])

    def is_due(self) -> bool:
        """Return whether it is time to save again.

        Call it between steps. An interruption itself saves nothing: Ctrl-C mostly arrives in the
        middle of a step, when half of the weights may already be updated.
        """
        return self._clock() - self._saved >= self._every_seconds

    def save(self, state: State) -> None:
        """Save the state in place of the previous one."""
        content = io.BytesIO()
        torch.save(state, content)
        write_atomically(self._path, content.getvalue())
        self._saved = self._clock()

    def remove(self) -> None:
        """Delete the state, if there is one."""
        self._path.unlink(missing_ok=True)


def remember(path: Path, make: Callable[[Checkpoint], State]) -> State:
    """Return the result kept in a file, or make it, resuming unfinished work, and keep it.

    Args:
        path: where the result is kept; `<name>.part` beside it holds the unfinished state.
        make: makes the result, saving its state in the checkpoint as it goes.
    """
    finished = Checkpoint(path)
    result = finished.load()
    if result is None:
        unfinished = Checkpoint(path.with_name(f"{path.name}.part"))
        result = make(unfinished)
        finished.save(result)
        unfinished.remove()
    return result


def fingerprint(entry: Path, settings: Mapping[str, object]) -> str:
    """Return a short hash of everything that a training run's result depends on.

    Another recipe, seed, data set or version of torch, or a change in the code, gives another hash,
    so no run resumes the work of an earlier recipe.

    Args:
        entry: the module that trains; the modules of its package that it imports are included.
        settings: everything else that matters, as JSON values.
    """
    hasher = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in sorted(_closure(entry)):
        hasher.update(_parsed(path.read_bytes()).dump)
    return hasher.hexdigest()[:FINGERPRINT_DIGITS]


def _closure(entry: Path) -> set[Path]:
    """Return a module's file and those of its package that it imports, directly or indirectly."""
    found, waiting = set[Path](), [entry]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imported(path))
    return found


def _imported(path: Path) -> Iterator[Path]:
    package = path.parent
    for module, names in _parsed(path.read_bytes()).imports:
        top, _, rest = module.partition(".")
        # `from export import augment` imports modules, `from export.augment import warp` from one.
        files = [package / f"{name}.py" for name in ([rest] if rest else names)]
        yield from (file for file in files if top == package.name and file.is_file())


class _Module(NamedTuple):
    """The parts of a module that a fingerprint needs.

    Attributes:
        dump: the syntax tree without docstrings, which change no result.
        imports: modules and names of each `from ... import`.
    """

    dump: bytes
    imports: list[tuple[str, list[str]]]


@cache
def _parsed(code: bytes) -> _Module:
    """Return a parsed source; cached, as the fingerprints of an export share most modules."""
    tree = ast.parse(code)
    imports = [
        (node.module, [alias.name for alias in node.names])
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0
    ]
    return _Module(ast.dump(_Undocumented().visit(tree)).encode(), imports)


class _Undocumented(ast.NodeTransformer):
    """Removes docstrings: statements that are only a constant."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node
