"""Which stages of an export get a new version when a setting changes."""

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
    ("plan", "changed"),
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
def test_a_changed_setting_changes_the_versions_that_depend_on_it(
    stages: Stages, mnist: Mnist, plan: Plan, changed: set[str]
) -> None:
    """And no others: hours of training would be lost."""
    others = stages_of(plan, mnist)
    pairs = zip(stages._fields, stages, others, strict=True)
    assert {name for name, stage, other in pairs if stage != other} == changed
