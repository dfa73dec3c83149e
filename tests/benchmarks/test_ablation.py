"""The table of the ablation study."""

import zipfile
from pathlib import Path

import pytest

from benchmarks.ablation import WITHOUT, main


def test_a_row_for_each_step(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each step has a row: how many pictures of each set, and of all, are read without it."""
    first, second = tmp_path / "sevens.zip", tmp_path / "mixed.zip"
    for path, labels in ((first, {"7.png": "7"}), (second, {"800.png": "800", "blank.png": "1"})):
        with zipfile.ZipFile(path, "w") as pictures:
            rows = [f"{name},{label},here" for name, label in labels.items()]
            pictures.writestr("labels.csv", "\n".join(["file,label,source", *rows]))
            for name in labels:
                pictures.write(data / name, name)
    assert main([str(first), str(second)]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head == "| without | sevens | mixed | all | confidently wrong | seconds |"
    assert len(lines) == len(WITHOUT)
    assert lines[0].startswith("| nothing | 1 | 1 | 2 | 0 |")
