"""Which results of an export are named anew when something changes."""

from dataclasses import replace

import pytest

from export.data import Mnist
from export.plan import QUICK, Plan
from export.stages import Stages, stages_of
from export.train import Recipe

OTHER = Recipe(steps=7)
OF_CLASSIFIERS = {"crops", "held_out", "digits", "distilled"}


@pytest.fixture(scope="module")
def stages(mnist: Mnist) -> Stages:
    return stages_of(QUICK, mnist)


@pytest.mark.parametrize(
    ("plan", "anew"),
    [
        (QUICK, set()),
        (replace(QUICK, verifying=7), set()),
        (replace(QUICK, locator=OTHER), {"locator", "settled", "cutter"} | OF_CLASSIFIERS),
        (replace(QUICK, settle=OTHER), {"settled", "cutter"} | OF_CLASSIFIERS),
        (replace(QUICK, placer=OTHER), {"placer", "cutter"} | OF_CLASSIFIERS),
        (replace(QUICK, examples=7), {"cutter"} | OF_CLASSIFIERS),
        (replace(QUICK, scenes=7), {"crops", "digits", "distilled"}),
        (replace(QUICK, held_out_scenes=7), {"held_out"}),
        (replace(QUICK, digit=OTHER), {"digits", "distilled"}),
        (replace(QUICK, seeds=[1]), {"digits", "distilled"}),
        (replace(QUICK, distill=OTHER), {"distilled"}),
    ],
)
def test_what_depends_on_a_setting_is_named_anew_when_it_changes(
    stages: Stages, mnist: Mnist, plan: Plan, anew: set[str]
) -> None:
    """And nothing else is: hours of training would be lost."""
    others = stages_of(plan, mnist)
    pairs = zip(stages._fields, stages, others, strict=True)
    assert {name for name, stage, other in pairs if stage != other} == anew
