"""Interrupted training, and which changes a fingerprint reflects."""

from pathlib import Path

import pytest
import torch

from export.checkpoint import Checkpoint, State, fingerprint, remember
from export.data import Mnist
from export.train import Recipe
from export.train_digit import Lessons, train_digit


class Interrupting(Checkpoint):
    """A checkpoint that saves after the second step and is then interrupted, as by Ctrl-C."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._asked = 0

    def is_due(self) -> bool:
        """Return true at the second step."""
        self._asked += 1
        return self._asked == 2

    def save(self, state: State) -> None:
        """Save, then interrupt the training."""
        super().save(state)
        raise KeyboardInterrupt


def test_interrupted_training_ends_in_the_same_weights(mnist: Mnist, tmp_path: Path) -> None:
    """Two steps, an interruption and three more steps equal five steps, bit for bit."""
    recipe = Recipe(steps=5, batch=16)
    lessons = Lessons(mnist.train, mnist.validation)
    whole = train_digit(lessons, recipe, 7, Checkpoint(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        train_digit(lessons, recipe, 7, Interrupting(tmp_path / "half"))
    resumed = Checkpoint(tmp_path / "half")
    assert resumed.step() == 2
    ended = train_digit(lessons, recipe, 7, resumed)
    assert all(torch.equal(ended[name], value) for name, value in whole.items())


def test_another_seed_gives_other_weights(mnist: Mnist, tmp_path: Path) -> None:
    """The seed determines the initial weights and all random draws."""
    recipe, nowhere = Recipe(steps=1, batch=16), Checkpoint(tmp_path / "no")
    lessons = Lessons(mnist.train, mnist.validation)
    first, second = (train_digit(lessons, recipe, seed, nowhere) for seed in (0, 1))
    assert any(not torch.equal(first[name], value) for name, value in second.items())


def test_a_result_is_made_once(tmp_path: Path) -> None:
    """A kept result is not made again, and the unfinished state is deleted."""

    def make(checkpoint: Checkpoint) -> State:
        checkpoint.save({"step": 1})
        return {"weights": torch.ones(2)}

    def make_again(checkpoint: Checkpoint) -> State:
        raise AssertionError

    remember(tmp_path / "result", make)
    assert remember(tmp_path / "result", make_again)["weights"].tolist() == [1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_checkpoint_is_due_from_time_to_time(tmp_path: Path) -> None:
    """Saving restarts the interval."""
    times = iter([0.0, 19.0, 20.0, 21.0, 40.0])
    checkpoint = Checkpoint(tmp_path / "state", every_seconds=20, clock=lambda: next(times))
    assert [checkpoint.is_due(), checkpoint.is_due()] == [False, True]
    checkpoint.save({})
    assert not checkpoint.is_due()


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    """A file with anything but tensors and plain values is rejected."""
    torch.save({"step": Path("x")}, tmp_path / "state")
    with pytest.raises(Exception, match="Weights only load failed"):
        Checkpoint(tmp_path / "state").load()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The entry of a package in which each module imports the next."""
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "entry.py").write_text("from pack.middle import x\n")
    (folder / "middle.py").write_text("import math\nfrom pack import last\nx = last.y\n")
    (folder / "last.py").write_text("y = 1\n")
    return folder / "entry.py"


@pytest.mark.parametrize("source", ["y  =  1  # one", '"""Module."""\ny = 1\n"""What y is."""'])
def test_a_fingerprint_ignores_comments_and_docstrings(package: Path, source: str) -> None:
    """They change no result, so they are no reason to train again."""
    before = fingerprint(package, {"steps": 1})
    (package.parent / "last.py").write_text(source)
    assert fingerprint(package, {"steps": 1}) == before


@pytest.mark.parametrize(("settings", "source"), [({"steps": 2}, "y = 1"), ({"steps": 1}, "y = 2")])
def test_a_fingerprint_reflects_settings_and_code(
    package: Path, settings: dict[str, int], source: str
) -> None:
    """Another setting, or another line in an indirectly imported module, changes it."""
    before = fingerprint(package, {"steps": 1})
    (package.parent / "last.py").write_text(source)
    assert fingerprint(package, settings) != before


def test_a_fingerprint_ignores_modules_that_are_not_imported(package: Path) -> None:
    """A module beside them that the training does not use changes nothing."""
    before = fingerprint(package, {})
    (package.parent / "other.py").write_text("z = 1\n")
    assert fingerprint(package, {}) == before
