"""The stages of an export whose results are kept, each with all that it depends on.

What takes long is made only once: it is kept in the plan's work folder under its version, so that
it is never taken for a result of other code, data or settings.
"""

import inspect
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from operator import call
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, TypeVarTuple

import cv2
import numpy as np
import onnxruntime
import PIL
import torch
from numpy.typing import NDArray

from export.checkpoint import Checkpoint, State, fingerprint, remember
from export.data import Mnist, checksums
from export.distill import distill
from export.files import write_atomically
from export.glyphs import Glyphs
from export.harvest import LOOSE, harvest, split_of
from export.locator import Locator
from export.placer import Placer
from export.plan import (
    DISTILL_SEED,
    EXAMPLE_SEED,
    EXAMPLE_SHAPE,
    HELD_OUT_SEED,
    LOCATOR_SEED,
    SETTLE_SEED,
    TRAINING_SEED,
    Plan,
)
from export.processes import end_with_parent
from export.settle import settle, settled_of
from export.shrink import shrunk
from export.to_onnx import locate_model
from export.train import device, precision
from export.train_digit import Lessons, learned
from export.train_locator import train_locator
from export.train_placer import train_placer
from export.trial import scenes_of

Result = TypeVar("Result")
Given = TypeVarTuple("Given")


@dataclass(frozen=True)
class Stage(Generic[Result]):
    """A stage of an export. Two are equal if they make the same.

    Attributes:
        place: the file that its result is kept in, but for the version in the file's name.
        version: the fingerprint of all that the result depends on.
        prepare: has the stages before it done, and returns what takes the result from its file or,
            if it is not there yet, makes it and keeps it there.
    """

    place: Path
    version: str
    prepare: Callable[[], Callable[[Path], Result]] = field(compare=False)

    @property
    def path(self) -> Path:
        """The file that its result is kept in."""
        return self.place.with_stem(f"{self.place.stem}-{self.version}")

    @cached_property
    def result(self) -> Result:
        """What it makes; done when this is asked for first."""
        result = self.prepare()(self.path)
        print(f"kept      {self.path.name}")
        return result


class Stages(NamedTuple):
    """All stages whose results are kept, in order.

    Attributes:
        locator: trains the locator on composed scenes.
        settled: trains it on in the form in which it answers.
        placer: trains the placer on small scenes.
        cutter: makes a `locate.onnx` that cuts crops for the classifiers.
        crops: cuts those that they are trained on.
        held_out: cuts those that they are calibrated by, with digits that nothing is trained on.
        digits: each trains a classifier, of another seed.
        distilled: trains the first of them on, to say what all of them together say.
    """

    locator: Stage[State]
    settled: Stage[State]
    placer: Stage[State]
    cutter: Stage[bytes]
    crops: Stage[State]
    held_out: Stage[State]
    digits: Sequence[Stage[State]]
    distilled: Stage[State]


def stages_of(plan: Plan, mnist: Mnist) -> Stages:
    """Return the stages of an export, by the code as it stands now; nothing is done yet.

    Of each is told first what its result depends on, then how it is made.
    """
    glyphs, unseen = (
        Glyphs(split.images, split.labels) for split in (mnist.train, mnist.validation)
    )
    pictures = (len(mnist.train), len(mnist.validation))
    locator, settled, placer, cutter = _of_networks(plan, glyphs, pictures)
    crops = Stage(
        plan.work / "crops.pt",
        _version(harvest, cutter=cutter.version, scenes=plan.scenes, seed=TRAINING_SEED),
        lambda: _remembering(harvest, cutter.result, glyphs, plan.scenes, TRAINING_SEED),
    )
    held_out = Stage(
        plan.work / "crops.pt",
        _version(harvest, cutter=cutter.version, scenes=plan.held_out_scenes, seed=HELD_OUT_SEED),
        lambda: _remembering(harvest, cutter.result, unseen, plan.held_out_scenes, HELD_OUT_SEED),
    )

    def lessons() -> Lessons:
        return Lessons(mnist.train, split_of(crops.result))

    digits = [_digit(plan, seed, crops.version, lessons) for seed in plan.seeds]
    distilled = Stage(
        plan.work / "distilled.pt",
        _version(
            distill,
            teachers=[teacher.version for teacher in digits],
            recipe=asdict(plan.distill),
            seed=DISTILL_SEED,
        ),
        lambda: _remembering(
            distill,
            lessons(),
            plan.distill,
            [teacher.result for teacher in digits],
            DISTILL_SEED,
        ),
    )
    return Stages(locator, settled, placer, cutter, crops, held_out, digits, distilled)


def _of_networks(
    plan: Plan, glyphs: Glyphs, pictures: tuple[int, int]
) -> tuple[Stage[State], Stage[State], Stage[State], Stage[bytes]]:
    """Return the stages up to the `locate.onnx` that cuts crops; see `stages_of`.

    Args:
        plan: how much work they are.
        glyphs: what is put into scenes.
        pictures: how many of MNIST's there are to train on, and to choose by.
    """
    common = {
        "seed": LOCATOR_SEED,
        "data": checksums(),
        "pictures": pictures,
        "torch": torch.__version__,
        "precision": str(precision(torch.device("cpu"))),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
    }
    locator = Stage(
        plan.work / "locator.pt",
        _version(train_locator, recipe=asdict(plan.locator), **common),
        lambda: _remembering(train_locator, glyphs, plan.locator, LOCATOR_SEED),
    )
    settled = Stage(
        plan.work / "settled.pt",
        _version(settle, locator=locator.version, recipe=asdict(plan.settle), seed=SETTLE_SEED),
        lambda: _remembering(settle, glyphs, plan.settle, locator.result, SETTLE_SEED),
    )
    placer = Stage(
        plan.work / "placer.pt",
        _version(train_placer, recipe=asdict(plan.placer), **common),
        lambda: _remembering(train_placer, glyphs, plan.placer, LOCATOR_SEED),
    )
    cutter = Stage(
        plan.work / "cutter.onnx",
        _version(
            locate_model,
            locator=settled.version,
            placer=placer.version,
            **LOOSE._asdict(),
            examples=[plan.examples, EXAMPLE_SEED, *EXAMPLE_SHAPE],
            onnxruntime=onnxruntime.__version__,
        ),
        lambda: partial(_cutter, networks_of(settled.result, placer.result), glyphs, plan.examples),
    )
    return locator, settled, placer, cutter


def _digit(plan: Plan, seed: int, crops: str, lessons: Callable[[], Lessons]) -> Stage[State]:
    """Return the stage that trains the classifier of a seed; another process can do it.

    Args:
        plan: how much work it is.
        seed: of the weights that it begins with, and of what it sees.
        crops: the version of those in its lessons.
        lessons: returns what it learns from.
    """
    where = [device().type, str(precision(device()))]
    return Stage(
        plan.work / f"digit-seed{seed}.pt",
        _version(learned, crops=crops, recipe=asdict(plan.digit), seed=seed, device=where),
        lambda: partial(learned, lessons=lessons(), recipe=plan.digit, seed=seed),
    )


def _version(make: Callable[..., object], **settings: object) -> str:
    """Return the fingerprint of what a function makes with some settings."""
    return fingerprint(Path(inspect.getfile(make)), settings)


def _remembering(
    make: Callable[[*Given, Checkpoint], State], *given: *Given
) -> Callable[[Path], State]:
    """Return what takes a function's result from a file or, if need be, makes it and keeps it."""
    return lambda path: remember(path, lambda checkpoint: make(*given, checkpoint))


def _cutter(networks: tuple[Locator, Placer], glyphs: Glyphs, examples: int, path: Path) -> bytes:
    """Return a `locate.onnx` from its file, or make and keep it; tracing it takes a while."""
    if not path.exists():
        pictures = examples_of(glyphs, examples)
        write_atomically(path, locate_model(*networks, LOOSE, pictures, {}))
    return path.read_bytes()


def examples_of(glyphs: Glyphs, count: int) -> list[NDArray[np.uint8]]:
    """Return composed pictures, all of one size, to scale the locator's integers by."""
    return [scene.pixels for scene in scenes_of(glyphs, count, EXAMPLE_SEED, [EXAMPLE_SHAPE])]


def networks_of(settled: State, placed: State) -> tuple[Locator, Placer]:
    """Return the locator and the placer with trained weights, on the CPU, set to answer."""
    placer = Placer()
    placer.load_state_dict(placed)
    return settled_of(settled), shrunk(placer)


def done_side_by_side(stages: Sequence[Stage[Result]], processes: int) -> list[Result]:
    """Return the results of stages that do not need each other, done in processes of their own."""
    if min(processes, len(stages)) > 1:
        jobs = [(stage.prepare(), stage.path) for stage in stages]
        # Spawned: torch's gradients do not work in a fork of a process that has made some already.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, context, end_with_parent) as pool:
            list(pool.map(call, *zip(*jobs, strict=True)))
    return [stage.result for stage in stages]
