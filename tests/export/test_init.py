"""The list of modules in the package's docstring."""

import re
from pathlib import Path

import export


def test_every_module_is_listed() -> None:
    """Readers find each module there, and none that does not exist."""
    text = str(export.__doc__)
    named = re.findall(r"\w+", " ".join(re.findall(r"^    (\w.*?)  ", text, re.MULTILINE)))
    assert sorted(named) == sorted(
        path.stem for path in Path(export.__path__[0]).glob("*.py") if path.stem != "__init__"
    )
