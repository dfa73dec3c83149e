"""The stages of an export whose results are kept, each with everything that it depends on.

Long work is done only once: its result is kept in the plan's work folder under its version, so that
it is never mistaken for a result of other code, data or settings.
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
    """A stage of an export. Two are equal if they have the same result.

    Attributes:
        place: the file with its result, but without the version in its name.
        version: the fingerprint of everything that the result depends on.
        prepare: runs the stages that it depends on, and returns a function that loads the result
            from a file or, if that does not exist, makes the result and saves it there.
    """

    place: Path
    version: str
    prepare: Callable[[], Callable[[Path], Result]] = field(compare=False)

    @property
    def path(self) -> Path:
        """The file with its result."""
        return self.place.with_stem(f"{self.place.stem}-{self.version}")

    @cached_property
    def result(self) -> Result:
        """Its result, loaded or made on first access."""
        result = self.prepare()(self.path)
        print(f"kept      {self.path.name}")
        return result


class Stages(NamedTuple):
    """All stages whose results are kept, in order.

    Attributes:
        locator: trains the locator on composed scenes.
        settled: fine-tunes it with normalization folded.
        placer: trains the placer on small scenes.
        cutter: makes a `locate.onnx` that cuts crops for the classifiers.
        crops: cuts those that they are trained on.
        held_out: cuts those that they are calibrated on, of digits that nothing is trained on.
        digits: train one classifier each, of different seeds.
        distilled: distills all of them into the first.
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
    """Return the stages of an export by the code as it is on disk, without running any.

    Each is given its version, a fingerprint of what its result depends on, then how to make it.
    """
    glyphs, unseen = (
        Glyphs(split.images, split.labels) for split in (mnist.train, mnist.validation)
    )
    pictures = (len(mnist.train), len(mnist.validation))
    locator, settled, placer, cutter = _network_stages(plan, glyphs, pictures)
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

    digits = [_digit_stage(plan, seed, crops.version, lessons) for seed in plan.seeds]
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


def _network_stages(
    plan: Plan, glyphs: Glyphs, pictures: tuple[int, int]
) -> tuple[Stage[State], Stage[State], Stage[State], Stage[bytes]]:
    """Return the stages up to the `locate.onnx` that cuts crops; see `stages_of`.

    Args:
        plan: of the export.
        glyphs: what scenes are composed of.
        pictures: how many of MNIST's are for training, and for validation.
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


def _digit_stage(plan: Plan, seed: int, crops: str, lessons: Callable[[], Lessons]) -> Stage[State]:
    """Return the stage that trains the classifier of a seed; it can run in another process.

    Args:
        plan: of the export.
        seed: of the initial weights and of the batches.
        crops: the version of those in its lessons.
        lessons: returns its training data.
    """
    trained_on = [device().type, str(precision(device()))]
    return Stage(
        plan.work / f"digit-seed{seed}.pt",
        _version(learned, crops=crops, recipe=asdict(plan.digit), seed=seed, device=trained_on),
        lambda: partial(learned, lessons=lessons(), recipe=plan.digit, seed=seed),
    )


def _version(make: Callable[..., object], **settings: object) -> str:
    """Return the fingerprint of a function's result with some settings."""
    return fingerprint(Path(inspect.getfile(make)), settings)


def _remembering(
    make: Callable[[*Given, Checkpoint], State], *given: *Given
) -> Callable[[Path], State]:
    """Return a function that loads what `make` returns from a file, or makes and saves it."""
    return lambda path: remember(path, lambda checkpoint: make(*given, checkpoint))


def _cutter(networks: tuple[Locator, Placer], glyphs: Glyphs, examples: int, path: Path) -> bytes:
    """Load a `locate.onnx` from its file, or make it and save it there; tracing takes a while."""
    if not path.exists():
        pictures = examples_of(glyphs, examples)
        write_atomically(path, locate_model(*networks, LOOSE, pictures, {}))
    return path.read_bytes()


def examples_of(glyphs: Glyphs, count: int) -> list[NDArray[np.uint8]]:
    """Return composed pictures of one size to calibrate the locator's quantization."""
    return [scene.pixels for scene in scenes_of(glyphs, count, EXAMPLE_SEED, [EXAMPLE_SHAPE])]


def networks_of(settled: State, placed: State) -> tuple[Locator, Placer]:
    """Return the locator and the placer with trained weights, on the CPU, in evaluation mode."""
    placer = Placer()
    placer.load_state_dict(placed)
    return settled_of(settled), shrunk(placer)


def run_in_parallel(stages: Sequence[Stage[Result]], processes: int) -> list[Result]:
    """Run independent stages in parallel processes, and return their results."""
    if min(processes, len(stages)) > 1:
        jobs = [(stage.prepare(), stage.path) for stage in stages]
        # Spawned: autograd does not work in a fork of a process that has used it already.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, context, end_with_parent) as pool:
            list(pool.map(call, *zip(*jobs, strict=True)))
    return [stage.result for stage in stages]
