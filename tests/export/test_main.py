"""All stages, in the order and with the care that the command line promises."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from select import select

import onnx
import pytest
import torch

from export import __main__ as command_line
from export.__main__ import CodeChanged, main, run
from export.checkpoint import Checkpoint, State
from export.contract import DIGIT_CONTRACT, LOCATE_CONTRACT, FallsShort
from export.data import Mnist, Split
from export.plan import MODELS
from export.stages import stages_of
from export.trial import Floors
from server.model import load_classifier, load_models
from server.settings import REPOSITORY
from tests.export.conftest import COMMAND, Exported, kept

# The locator, that settled, the placer, two harvests, two classifiers, what one learns from both.
STAGES = 8


def test_models_and_their_card_come_out(exported: Exported, test_split: Split) -> None:
    """The server loads the models, and nothing unfinished lies beside them."""
    out = exported.plan.out
    models = load_models(out / "locate.onnx", out / "digit.onnx")
    _, _, crops = models.locator.locate(test_split.images[0][..., None])
    assert models.classifier.classify(crops).shape == (1, 11)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "digit.onnx", "locate.onnx"]


def test_the_locator_is_trained_once(exported: Exported) -> None:
    """Whatever the number of seeds, the crops are the same."""
    kept = sorted(path.name.split("-")[0] for path in exported.plan.work.glob("*.pt"))
    names = ["crops", "crops", "digit", "digit", "distilled", "locator", "placer", "settled"]
    assert kept == names


def test_the_test_set_is_read_when_nothing_is_left_to_choose(exported: Exported) -> None:
    """Once, and with the weights of both seeds and of what one learned from both on disk."""
    assert exported.trained_when_tested == [3]


@pytest.mark.parametrize(
    ("name", "keys", "trained"),
    [
        ("digit.onnx", DIGIT_CONTRACT.metadata, ["trained", "distilled"]),
        ("locate.onnx", LOCATE_CONTRACT.metadata, ["locator", "placer"]),
    ],
)
def test_a_file_says_what_it_is(
    exported: Exported, name: str, keys: frozenset[str], trained: list[str]
) -> None:
    """Its metadata are the agreed keys, each with a value in JSON."""
    model = onnx.load(exported.plan.out / name)
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert metadata.keys() == keys
    assert f"{metadata['name']}.onnx" == name
    assert [metadata["recipe"][each]["steps"] for each in trained] == [2, 2]


def test_the_card_has_the_run_in_it(exported: Exported) -> None:
    """The command, the file's checksum, both seeds and their spread, and no path are in it."""
    text = (exported.plan.out / "README.md").read_text()
    sha256 = load_classifier(exported.plan.out / "digit.onnx").sha256
    assert all(
        part in text for part in (COMMAND, sha256, "| seed 1 | mean | deviation | distilled |")
    )
    assert re.search(r"\| test accuracy \|( [\d.]+% \|){5}\n", text)
    assert "300 of MNIST's 60,000" in text
    assert str(exported.plan.out) not in text


def test_networks_below_the_floors_leave_the_old_models(
    exported: Exported, mnist: Mnist, test_split: Split, tmp_path: Path
) -> None:
    """Models and card stay as they were, to the byte."""
    for name in ("locate.onnx", "digit.onnx", "README.md"):
        (tmp_path / name).write_bytes(b"old")
    plan = replace(exported.plan, floors=Floors(0.99, 0.01, 0.99, 0.99), out=tmp_path)
    with pytest.raises(FallsShort):
        run(plan, mnist, lambda: test_split, COMMAND)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"old"}


def test_code_that_is_edited_meanwhile_trains_nothing(
    exported: Exported, mnist: Mnist, test_split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seeds' processes would load the new code, and keep its results under the old name."""
    found = iter([stages_of(exported.plan, mnist), None])
    monkeypatch.setattr(command_line, "stages_of", lambda plan, mnist: next(found))
    with pytest.raises(CodeChanged):
        run(exported.plan, mnist, lambda: test_split, COMMAND)


def test_an_interrupted_export_ends_in_the_same_file(
    exported: Exported,
    mnist: Mnist,
    test_split: Split,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C in each stage, and the same command again, give the bytes of an undisturbed run.

    There the seeds learned side by side, here they do one by one.
    """
    disturbed = replace(exported.plan, out=tmp_path / "models", work=tmp_path / "work")
    disturbed.work.mkdir()
    # Tracing it again is most of an export this small, and test_locate_model shows what it gives.
    shutil.copy(kept(exported.plan, "cutter"), disturbed.work)
    save = Checkpoint.save
    stopped = set[str]()

    def save_and_stop(checkpoint: Checkpoint, state: State) -> None:
        save(checkpoint, state)
        stage = checkpoint._path.name
        if stage.endswith(".part") and stage not in stopped:
            stopped.add(stage)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "is_due", lambda _: True)
        patch.setattr(Checkpoint, "save", save_and_stop)
        for _ in range(STAGES):
            with pytest.raises(KeyboardInterrupt):
                run(disturbed, mnist, lambda: test_split, COMMAND)
            assert len(list(disturbed.work.glob("*.part"))) == 1
            assert not disturbed.out.exists()
        run(disturbed, mnist, lambda: test_split, COMMAND)
    for name in ("locate.onnx", "digit.onnx"):
        first, second = ((each.out / name).read_bytes() for each in (exported.plan, disturbed))
        assert first == second
    for name in ("locator", "settled", "placer"):
        first, second = (torch.load(kept(each, name)) for each in (exported.plan, disturbed))
        assert all(torch.equal(first[weight], second[weight]) for weight in first | second)


def test_what_an_export_has_started_ends_with_it() -> None:
    """However it ends: two trainings that nobody waits for would slow down the next."""
    code = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from export.processes import end_with_parent

with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600).result()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout
        assert process.stdout.readline()
        process.kill()
        # Both can write to the pipe: what it has to tell is that neither will any more.
        assert select([process.stdout], [], [], 60)[0]
        assert not process.stdout.read()


@pytest.mark.parametrize(
    "argv", [["--seeds", "0"], ["--seeds", "x"], ["--no-such"], ["--quick", "--out", str(MODELS)]]
)
def test_a_wrong_command_line_is_refused(argv: list[str]) -> None:
    """Nothing is begun, and a quick run never writes over models/."""
    with pytest.raises(SystemExit) as refusal:
        main(argv, {})
    assert refusal.value.code == 2


def test_data_that_cannot_be_had_are_told_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong DIGIT_DATA gives a message and an exit status, and no traceback."""
    assert main([], {"DIGIT_DATA": str(tmp_path / "no")}) == 1
    assert "not a folder" in capsys.readouterr().err


def test_a_wrong_test_set_is_told_before_the_training(
    mnist: Mnist,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is needed after an hour, when nobody sits there any more to put it right."""
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"wrong")
    monkeypatch.setattr(command_line, "load_mnist", lambda _: mnist)
    monkeypatch.setattr(command_line, "run", lambda *_: pytest.fail("it trains"))
    assert main([], {"DIGIT_DATA": str(tmp_path)}) == 1
    assert "is not MNIST's t10k-images-idx3-ubyte" in capsys.readouterr().err


def test_a_full_disk_is_told_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that what was done before is not lost by it."""

    def fill(settings: object) -> Mnist:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "models/digit.onnx")

    monkeypatch.setattr(command_line, "load_mnist", fill)
    assert main([], {}) == 1
    said = capsys.readouterr().err
    assert "No space left on device: 'models/digit.onnx'" in said
    assert "goes on from the last checkpoint" in said


def test_ctrl_c_tells_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interruption ends with one line and the status that shells give it."""

    def interrupt(settings: object) -> Mnist:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "load_mnist", interrupt)
    assert main([], {}) == 130
    assert "goes on from the last checkpoint" in capsys.readouterr().err


def test_nobody_is_told_of_an_export(tmp_path: Path) -> None:
    """Left to itself, onnxruntime notes whose machine it is, and tells its makers."""
    code = "import export, onnxruntime"
    subprocess.run([sys.executable, "-c", code], env={"HOME": str(tmp_path)}, check=True)

    assert not list(tmp_path.iterdir())
