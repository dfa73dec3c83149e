"""The map of the package."""

import re
from pathlib import Path

import export


def test_every_module_is_on_the_map() -> None:
    """Who wants to learn how the models are made finds each module, and none that is not there."""
    text = str(export.__doc__)
    named = re.findall(r"\w+", " ".join(re.findall(r"^    (\w.*?)  ", text, re.MULTILINE)))
    assert sorted(named) == sorted(
        path.stem for path in Path(export.__path__[0]).glob("*.py") if path.stem != "__init__"
    )
