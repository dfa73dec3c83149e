"""`python -m export`, all stages from end to end."""

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

# Locator, settled locator, placer, two harvests, two classifiers, distilled classifier.
STAGES = 8


def test_an_export_writes_the_models_and_their_card(exported: Exported, test_split: Split) -> None:
    """The server loads the models, and no unfinished file is beside them."""
    out = exported.plan.out
    models = load_models(out / "locate.onnx", out / "digit.onnx")
    _, _, crops = models.locator.locate(test_split.images[0][..., None])
    assert models.classifier.classify(crops).shape == (1, 11)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "digit.onnx", "locate.onnx"]


def test_the_locator_is_trained_once(exported: Exported) -> None:
    """All seeds share the crops that it cuts."""
    kept = sorted(path.name.split("-")[0] for path in exported.plan.work.glob("*.pt"))
    names = ["crops", "crops", "digit", "digit", "distilled", "locator", "placer", "settled"]
    assert kept == names


def test_the_test_set_is_read_after_training(exported: Exported) -> None:
    """It is read once, when the weights of both seeds and of the distilled classifier are saved."""
    assert exported.trained_when_tested == [3]


@pytest.mark.parametrize(
    ("name", "keys", "trained"),
    [
        ("digit.onnx", DIGIT_CONTRACT.metadata, ["trained", "distilled"]),
        ("locate.onnx", LOCATE_CONTRACT.metadata, ["locator", "placer"]),
    ],
)
def test_each_file_has_its_metadata(
    exported: Exported, name: str, keys: frozenset[str], trained: list[str]
) -> None:
    """The keys are those of its contract, each with a value in JSON."""
    model = onnx.load(exported.plan.out / name)
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert metadata.keys() == keys
    assert f"{metadata['name']}.onnx" == name
    assert [metadata["recipe"][each]["steps"] for each in trained] == [2, 2]


def test_the_card_describes_the_run(exported: Exported) -> None:
    """The command, the checksum, both seeds and their spread are in it, but no path."""
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


def test_editing_the_code_during_an_export_stops_it(
    exported: Exported, mnist: Mnist, test_split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seeds' processes would load the new code, and save its results as the old code's."""
    found = iter([stages_of(exported.plan, mnist), None])
    monkeypatch.setattr(command_line, "stages_of", lambda plan, mnist: next(found))
    with pytest.raises(CodeChanged):
        run(exported.plan, mnist, lambda: test_split, COMMAND)


def test_an_interrupted_export_ends_in_the_same_files(
    exported: Exported,
    mnist: Mnist,
    test_split: Split,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C in each stage, and the same command again, give the bytes of an uninterrupted run.

    That run trained its seeds in parallel, this one trains them in turn.
    """
    interrupted = replace(exported.plan, out=tmp_path / "models", work=tmp_path / "work")
    interrupted.work.mkdir()
    # Tracing it again would take most of the time; test_locate_model shows that it is repeatable.
    shutil.copy(kept(exported.plan, "cutter"), interrupted.work)
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
                run(interrupted, mnist, lambda: test_split, COMMAND)
            assert len(list(interrupted.work.glob("*.part"))) == 1
            assert not interrupted.out.exists()
        run(interrupted, mnist, lambda: test_split, COMMAND)
    for name in ("locate.onnx", "digit.onnx"):
        first, second = ((each.out / name).read_bytes() for each in (exported.plan, interrupted))
        assert first == second
    for name in ("locator", "settled", "placer"):
        first, second = (torch.load(kept(each, name)) for each in (exported.plan, interrupted))
        assert all(torch.equal(first[weight], second[weight]) for weight in first | second)


def test_child_processes_end_with_the_export() -> None:
    """Even if it is killed: orphans would slow down the next export."""
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
        # Both processes hold the pipe open: its end shows that both have exited.
        assert select([process.stdout], [], [], 60)[0]
        assert not process.stdout.read()


@pytest.mark.parametrize(
    "argv", [["--seeds", "0"], ["--seeds", "x"], ["--no-such"], ["--quick", "--out", str(MODELS)]]
)
def test_a_wrong_command_line_is_refused(argv: list[str]) -> None:
    """Nothing is started, and a quick run never overwrites models/."""
    with pytest.raises(SystemExit) as refusal:
        main(argv, {})
    assert refusal.value.code == 2


def test_a_wrong_data_folder_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is a message and an exit status, but no traceback."""
    assert main([], {"DIGIT_DATA": str(tmp_path / "no")}) == 1
    assert "not a folder" in capsys.readouterr().err


def test_a_wrong_test_set_is_reported_before_training(
    mnist: Mnist,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is needed after an hour, when nobody is there any more to correct it."""
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"wrong")
    monkeypatch.setattr(command_line, "load_mnist", lambda _: mnist)
    monkeypatch.setattr(command_line, "run", lambda *_: pytest.fail("it trains"))
    assert main([], {"DIGIT_DATA": str(tmp_path)}) == 1
    assert "is not MNIST's t10k-images-idx3-ubyte" in capsys.readouterr().err


def test_a_full_disk_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message also says that finished work is not lost."""

    def fill(settings: object) -> Mnist:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "models/digit.onnx")

    monkeypatch.setattr(command_line, "load_mnist", fill)
    assert main([], {}) == 1
    said = capsys.readouterr().err
    assert "No space left on device: 'models/digit.onnx'" in said
    assert "resume from the last checkpoint" in said


def test_ctrl_c_says_how_to_resume(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the export with one line, and with the exit status that shells use for it."""

    def interrupt(settings: object) -> Mnist:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "load_mnist", interrupt)
    assert main([], {}) == 130
    assert "resume from the last checkpoint" in capsys.readouterr().err


def test_telemetry_is_switched_off(tmp_path: Path) -> None:
    """By default, onnxruntime stores an identifier of the machine, and reports to its makers."""
    code = "import export, onnxruntime"
    subprocess.run([sys.executable, "-c", code], env={"HOME": str(tmp_path)}, check=True)

    assert not list(tmp_path.iterdir())
