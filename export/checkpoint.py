"""Training state on disk: an interrupted export goes on where it was and ends in the same bytes.

`export.train.fit` is the loop that does this: it takes up the state if there is one, draws all that
is random from the step's number, and saves between steps.
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
    """One file with the state of one training, replaced from time to time."""

    def __init__(
        self,
        path: Path,
        every_seconds: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name the file; nothing is read or written yet.

        Args:
            path: the file.
            every_seconds: how much work an interruption may cost.
            clock: seconds that only go up.
        """
        self._path = path
        self._every_seconds = every_seconds
        self._clock = clock
        self._saved = clock()

    def load(self) -> State | None:
        """Return the state saved last, on the CPU, or None at the beginning."""
        if not self._path.exists():
            return None
        # weights_only: a checkpoint is data and must not run code when it is read.
        state: State = torch.load(self._path, map_location="cpu", weights_only=True)
        return state

    def step(self) -> int:
        """Return how many steps were done when the state was saved last; 0 at the beginning."""
        state = self.load()
        return 0 if state is None else int(state["step"])

    def is_due(self) -> bool:
        """Return whether the state was saved so long ago that it should be again.

        To be asked between steps: in the middle of one, where Ctrl-C mostly strikes, half of the
        weights may be updated already, so an interruption itself saves nothing.
        """
        return self._clock() - self._saved >= self._every_seconds

    def save(self, state: State) -> None:
        """Save the state in place of the one before."""
        content = io.BytesIO()
        torch.save(state, content)
        write_atomically(self._path, content.getvalue())
        self._saved = self._clock()

    def remove(self) -> None:
        """Forget the state; nothing happens where there is none."""
        self._path.unlink(missing_ok=True)


def remember(path: Path, make: Callable[[Checkpoint], State]) -> State:
    """Return the result kept in a file, or make it, resuming what was begun, and keep it.

    Args:
        path: where the result is kept; `<name>.part` beside it holds the unfinished state.
        make: makes the result, saving its state in the checkpoint on the way.
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
    """Return a short name for everything that a training's result depends on.

    Another recipe, seed, data set or version of torch, or a change in the code, gives another name,
    so that no run resumes what an earlier recipe began.

    Args:
        entry: the module that trains; the modules of its package that it imports are included.
        settings: what else matters, as JSON can say it.
    """
    hasher = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in sorted(_closure(entry)):
        hasher.update(_parsed(path.read_bytes()).dump)
    return hasher.hexdigest()[:FINGERPRINT_DIGITS]


def _closure(entry: Path) -> set[Path]:
    """Return a module's file and those of its package that it imports, directly or not."""
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
        # `from export import augment` names modules, `from export.augment import warp` one.
        files = [package / f"{name}.py" for name in ([rest] if rest else names)]
        yield from (file for file in files if top == package.name and file.is_file())


class _Module(NamedTuple):
    """What a fingerprint needs of a module.

    Attributes:
        dump: the syntax tree without docstrings: what is said about code changes no result.
        imports: modules and names of each `from ... import`.
    """

    dump: bytes
    imports: list[tuple[str, list[str]]]


@cache
def _parsed(code: bytes) -> _Module:
    """Return what matters of a source; kept, as all of an export's fingerprints need much of it."""
    tree = ast.parse(code)
    imports = [
        (node.module, [alias.name for alias in node.names])
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0
    ]
    return _Module(ast.dump(_Undocumented().visit(tree)).encode(), imports)


class _Undocumented(ast.NodeTransformer):
    """Leaves out docstrings: statements that are nothing but a constant."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node
