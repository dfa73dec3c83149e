"""`python -m export`: from MNIST to the verified files in models/, stage by stage."""

import argparse
import inspect
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import PIL
import torch
from numpy.typing import NDArray

from export.card import (
    DIGIT_METADATA,
    LOCATE_METADATA,
    LocatorReport,
    Measurements,
    Report,
    Trained,
    card,
    digit_metadata,
    locate_metadata,
)
from export.checkpoint import Checkpoint, State, fingerprint, remember
from export.contract import Contract, FallsShort
from export.crops import Strictness
from export.data import DataSettings, Mnist, Split, checksums, load_mnist, load_test
from export.distill import DISTILL_RECIPE, distill
from export.evaluate import fit_temperature, measure
from export.files import write_atomically
from export.fonts import check_fonts
from export.glyphs import Glyphs
from export.harvest import LOOSE, harvest, split_of
from export.locator import Locator
from export.placer import Placer
from export.processes import end_with_parent
from export.settle import SETTLE_RECIPE, settle, settled_of
from export.shrink import shrunk
from export.sources import DataError
from export.to_onnx import digit_model, locate_model, relabeled
from export.train import Recipe, device, precision
from export.train_digit import DIGIT_RECIPE, Lessons, classifier_of, learned, logits_of
from export.train_locator import LOCATOR_RECIPE, train_locator
from export.train_placer import PLACER_RECIPE, train_placer
from export.trial import PLACED, SHAPES, Floors, check_floors, scenes_of, try_out
from export.verify import verify_digit, verify_locator
from server.model import UnusableModel

REPOSITORY = Path(__file__).parent.parent
MODELS = REPOSITORY / "models"
CACHE = REPOSITORY / ".cache"

DIGIT_CONTRACT = Contract(
    inputs={"images": "uint8 (N, 28, 28)"},
    outputs={"probabilities": "float32 (N, 11)"},
    metadata=DIGIT_METADATA,
    max_bytes=300_000,
)
LOCATE_CONTRACT = Contract(
    inputs={"pixels": "uint8 (H, W, 1)"},
    outputs={"boxes": "float32 (M, 4)", "scores": "float32 (M,)", "crops": "uint8 (M, 28, 28)"},
    metadata=LOCATE_METADATA,
    max_bytes=360_000,
)
# What is cut out; the classifier still may find that it is no digit.
STRICTNESS = Strictness(threshold=0.15, nearest=0.85)
# Of the locator, and of the scenes for each purpose.
LOCATOR_SEED, TRAINING_SEED, HELD_OUT_SEED, VERIFYING_SEED, EXAMPLE_SEED = 0, 1, 2, 3, 4
DISTILL_SEED, SETTLE_SEED = 5, 8
EXAMPLE_SHAPE = (192, 192)
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


class CodeChanged(Exception):
    """The code is no longer that of the start: what it makes has another name."""


@dataclass(frozen=True)
class Plan:
    """How much work an export is, and what has to come of it.

    Attributes:
        locator: how the locator is trained.
        settle: how it goes on as it answers.
        placer: how the placer is trained.
        digit: how each classifier is trained.
        seeds: one classifier for each; several show the spread.
        distill: how the first of them learns from all.
        examples: how many pictures each file's integers are scaled by.
        processes: how many classifiers learn side by side.
        pictures: how many of each split are used; None for all.
        scenes: how many are composed for the classifier's crops to be cut from, ...
        held_out_scenes: ... and how many, with other digits, for choices and calibration.
        verifying: how many scenes, numbers and pictures without digits the files are tried on.
        floors: what the written file must reach.
        out: where the verified file goes, and its card.
        work: where what is unfinished is kept.
    """

    locator: Recipe
    settle: Recipe
    placer: Recipe
    digit: Recipe
    seeds: Sequence[int]
    distill: Recipe
    examples: int
    processes: int
    pictures: int | None
    scenes: int
    held_out_scenes: int
    verifying: int
    floors: Floors
    out: Path
    work: Path


@dataclass(frozen=True)
class Versions:
    """What names each result: another one where anything that it depends on is another."""

    locator: str
    settled: str
    placer: str
    cutter: str
    crops: str
    held_out: str
    digits: Mapping[int, str]
    distilled: str


FULL = Plan(
    locator=LOCATOR_RECIPE,
    settle=SETTLE_RECIPE,
    placer=PLACER_RECIPE,
    digit=DIGIT_RECIPE,
    seeds=[0],
    distill=DISTILL_RECIPE,
    examples=100,
    processes=os.cpu_count() or 1,
    pictures=None,
    scenes=90_000,
    held_out_scenes=4_000,
    verifying=500,
    floors=Floors(accuracy=0.995, calibration_error=0.004, strings=0.93, refused=0.88),
    out=MODELS,
    work=CACHE / "export",
)
# Through everything in a few minutes: enough to see that all fits together, worth nothing else.
QUICK = replace(
    FULL,
    locator=replace(FULL.locator, steps=200, batch=4, average_decay=0.95),
    settle=replace(FULL.settle, steps=50, batch=4, average_decay=0.95),
    placer=replace(FULL.placer, steps=100, batch=64, average_decay=0.95),
    digit=replace(FULL.digit, steps=200, batch=100, average_decay=0.95),
    distill=replace(FULL.distill, steps=50, batch=100, average_decay=0.95),
    examples=20,
    pictures=2_000,
    scenes=500,
    held_out_scenes=200,
    verifying=100,
    floors=Floors(accuracy=0.0, calibration_error=0.5, strings=0.0, refused=0.0),
    out=CACHE / "quick" / "models",
    work=CACHE / "quick",
)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command line; return the exit status."""
    plan = _plan(argv)
    # Left to itself, a GPU adds up gradients in whatever order they arrive.
    torch.backends.cudnn.deterministic = True
    data = DataSettings.from_environment(environ, CACHE / "mnist")
    command = " ".join(["python -m export", *argv])
    try:
        check_fonts()
        run(plan, load_mnist(data), lambda: load_test(data), command)
    except DataError as error:
        return _fail(f"data: {error}")
    except CodeChanged as error:
        return _fail(f"code: {error}")
    except (FallsShort, UnusableModel) as error:
        return _fail(f"verify: {error}\nNothing in {_shown(plan.out)} was changed.")
    except KeyboardInterrupt:
        _fail("\nInterrupted. The same command goes on from the last checkpoint.")
        return INTERRUPTED
    return 0


def run(plan: Plan, mnist: Mnist, test: Callable[[], Split], command: str) -> None:
    """Train, evaluate, write, verify, and only then put the models and their card in place.

    Args:
        plan: how much of it.
        mnist: what is trained on and chosen by.
        test: reads the test set; called once, when nothing is left to choose.
        command: what the card names as the way to do it again.

    Raises:
        CodeChanged: somebody edits it meanwhile.
        FallsShort: a written file is not good enough; `plan.out` is as it was.
    """
    # OpenCV's threads do not live on in the processes that compose scenes, which would wait for
    # them forever.
    cv2.setNumThreads(1)
    mnist = Mnist(mnist.train.head(plan.pictures), mnist.validation.head(plan.pictures))
    print(
        f"data      {len(mnist.train):,} pictures to train on, {len(mnist.validation):,} to choose"
    )
    versions = _versions(plan, mnist)
    networks = _train_networks(plan, mnist, versions)
    cutter = _cutter(plan, mnist.train, networks, versions.cutter)
    crops = _harvest(mnist.train, plan.scenes, cutter, TRAINING_SEED, _kept(plan, versions.crops))
    held_out = _harvest(
        mnist.validation,
        plan.held_out_scenes,
        cutter,
        HELD_OUT_SEED,
        _kept(plan, versions.held_out),
    )
    # The seeds' processes load the code once more: edited meanwhile, it would be another's result.
    if _versions(plan, mnist) != versions:
        raise CodeChanged("export/ was edited meanwhile; give the same command again.")
    lessons = Lessons(mnist.train, crops)
    weights = _train_digits(plan, lessons, versions.digits)
    distilled = _distill(plan, lessons, weights, versions.distilled)
    judged = test().head(plan.pictures)
    splits = (mnist.validation, held_out, judged)
    trained = [
        _evaluate(f"seed {seed}", state, splits)
        for seed, state in zip(plan.seeds, weights, strict=True)
    ]
    report = Report(
        command=command,
        locator=LocatorReport(
            networks,
            versions.cutter,
            (plan.locator, plan.settle, plan.placer),
            LOCATOR_SEED,
            STRICTNESS,
        ),
        version=versions.distilled,
        recipes=(plan.digit, plan.distill),
        pictures=(len(mnist.train), len(mnist.validation)),
        crops=(len(crops), len(held_out)),
        trained=trained,
        shipped=_evaluate("distilled", distilled, splits),
        seed=DISTILL_SEED,
        device=_device_name(),
    )
    written = _write(plan, report, cutter, (mnist.train, crops))
    measured = _verify(plan, report, written, judged)
    _put_in_place(plan, report, written, measured)


def _train_networks(plan: Plan, mnist: Mnist, versions: Versions) -> tuple[Locator, Placer]:
    """Return locator and placer as they answer; from the work folder where they are finished."""
    glyphs = Glyphs(mnist.train.images, mnist.train.labels)

    def finished(stage: str, name: str, make: Callable[[Checkpoint], State]) -> State:
        path = plan.work / f"{name}.pt"
        print(f"{stage:9} {_place(path, 'trained on composed scenes')}")
        return remember(path, make)

    trained = finished(
        "locate",
        f"locator-{versions.locator}",
        partial(train_locator, glyphs, plan.locator, LOCATOR_SEED),
    )
    settled = finished(
        "settle",
        f"settled-{versions.settled}",
        partial(settle, glyphs, plan.settle, trained, SETTLE_SEED),
    )
    placed = finished(
        "place",
        f"placer-{versions.placer}",
        partial(train_placer, glyphs, plan.placer, LOCATOR_SEED),
    )
    placer = Placer()
    placer.load_state_dict(placed)
    return settled_of(settled), shrunk(placer)


def _cutter(plan: Plan, split: Split, networks: tuple[Locator, Placer], version: str) -> bytes:
    """Return a `locate.onnx` that cuts crops for the classifier; tracing it takes a while."""
    path = plan.work / f"cutter-{version}.onnx"
    if not path.exists():
        examples = examples_of(Glyphs(split.images, split.labels), plan.examples)
        write_atomically(path, locate_model(*networks, LOOSE, examples, {}))
    return path.read_bytes()


def examples_of(glyphs: Glyphs, count: int) -> list[NDArray[np.uint8]]:
    """Return composed pictures, all of one size, to scale the locator's integers by."""
    return [scene.pixels for scene in scenes_of(glyphs, count, EXAMPLE_SEED, [EXAMPLE_SHAPE])]


def _kept(plan: Plan, version: str) -> Path:
    return plan.work / f"crops-{version}.pt"


def _harvest(split: Split, scenes: int, cutter: bytes, seed: int, path: Path) -> Split:
    """Return what the locator cuts from scenes that are made of a split's digits."""
    glyphs = Glyphs(split.images, split.labels)
    print(f"harvest   {_place(path, f'cut from {scenes:,} scenes')}")
    crops = remember(path, lambda checkpoint: harvest(cutter, glyphs, scenes, seed, checkpoint))
    return split_of(crops)


def _train_digits(plan: Plan, lessons: Lessons, versions: Mapping[int, str]) -> list[State]:
    """Return the weights of the classifiers of all seeds, which learn side by side."""
    jobs = []
    for seed, version in versions.items():
        path = plan.work / f"digit-seed{seed}-{version}.pt"
        print(f"train     seed {seed}, {_place(path, f'on {_device_name()}')}")
        jobs.append((path, lessons, plan.digit, seed))
    if min(plan.processes, len(jobs)) == 1:
        return [learned(*job) for job in jobs]
    # Spawned: torch's gradients do not work in a fork of a process that has made some already.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(plan.processes, context, end_with_parent) as pool:
        return list(pool.map(learned, *zip(*jobs, strict=True)))


def _distill(plan: Plan, lessons: Lessons, teachers: Sequence[State], version: str) -> State:
    """Return the weights of the classifier that learned from all."""
    path = plan.work / f"distilled-{version}.pt"
    print(f"distill   {_place(path, f'from {len(teachers)}')}")
    return remember(path, partial(distill, lessons, plan.distill, teachers, DISTILL_SEED))


def _place(path: Path, how: str) -> str:
    return f"{'finished by an earlier run' if path.exists() else how}: {path.stem}"


def _versions(plan: Plan, mnist: Mnist) -> Versions:
    """Return the fingerprints of all that the results depend on, as the code stands now."""
    common = {
        "seed": LOCATOR_SEED,
        "data": checksums(),
        "pictures": [len(mnist.train), len(mnist.validation)],
        "torch": torch.__version__,
        "precision": str(precision(torch.device("cpu"))),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
    }
    locator, placer = (
        fingerprint(_source(trained), {**common, "recipe": asdict(recipe)})
        for trained, recipe in ((train_locator, plan.locator), (train_placer, plan.placer))
    )
    settled = fingerprint(
        _source(settle),
        {"locator": locator, "recipe": asdict(plan.settle), "seed": SETTLE_SEED},
    )
    cutter = fingerprint(
        _source(locate_model),
        {
            "locator": settled,
            "placer": placer,
            **LOOSE._asdict(),
            "examples": [plan.examples, EXAMPLE_SEED, *EXAMPLE_SHAPE],
            "onnxruntime": onnxruntime.__version__,
        },
    )
    crops, held_out = (
        fingerprint(_source(harvest), {"cutter": cutter, "scenes": count, "seed": seed})
        for count, seed in (
            (plan.scenes, TRAINING_SEED),
            (plan.held_out_scenes, HELD_OUT_SEED),
        )
    )
    digits = {
        seed: fingerprint(
            _source(learned),
            {
                "crops": crops,
                "recipe": asdict(plan.digit),
                "seed": seed,
                "device": [device().type, str(precision(device()))],
            },
        )
        for seed in plan.seeds
    }
    distilled = fingerprint(
        _source(distill),
        {"teachers": list(digits.values()), "recipe": asdict(plan.distill), "seed": DISTILL_SEED},
    )
    return Versions(locator, settled, placer, cutter, crops, held_out, digits, distilled)


def _source(function: Callable[..., object]) -> Path:
    return Path(inspect.getfile(function))


def _evaluate(name: str, weights: State, splits: tuple[Split, Split, Split]) -> Trained:
    """Return a classifier with its temperature and its figures.

    Args:
        name: which one it is.
        weights: its own.
        splits: MNIST's validation pictures and held-out crops, on both of which the temperature is
            fitted, and MNIST's test pictures.
    """
    network = shrunk(classifier_of(weights))
    logits = [logits_of(network, split.images) for split in splits]
    validation, crops, _ = splits
    # As many of the one as of the other, so that the confidence holds for clean digits too.
    count = min(len(validation), len(crops))
    temperature = fit_temperature(
        np.concatenate([logits[0][:count], logits[1][:count]]),
        np.concatenate([validation.labels[:count], crops.labels[:count]]),
    )
    figures = [
        measure(each, split.labels, temperature) for each, split in zip(logits, splits, strict=True)
    ]
    one = Trained(name, network, temperature, *figures)
    print(
        f"evaluate  {name}: validation {one.validation.accuracy:.2%}, crops "
        f"{one.crops.accuracy:.2%}, test {one.test.accuracy:.2%}, calibration error "
        f"{one.test.calibration_error:.2%} at temperature {temperature:.3f}"
    )
    return one


def _write(
    plan: Plan, report: Report, cutter: bytes, learned_from: tuple[Split, Split]
) -> tuple[Path, Path]:
    """Return locate.onnx and digit.onnx, in the work folder: they have yet to be verified."""
    shipped = report.shipped
    # As many of the one as of the other, as in training.
    count = plan.examples // len(learned_from)
    examples = np.concatenate([split.images[:count] for split in learned_from])
    metadata = digit_metadata(report)
    contents = {
        "locate.onnx": relabeled(cutter, STRICTNESS, locate_metadata(report.locator)),
        "digit.onnx": digit_model(shipped.network, shipped.temperature, examples, metadata),
    }
    for name, content in contents.items():
        write_atomically(plan.work / name, content)
        print(f"export    {len(content):,} bytes to {name}")
    return plan.work / "locate.onnx", plan.work / "digit.onnx"


def _verify(plan: Plan, report: Report, written: tuple[Path, Path], test: Split) -> Measurements:
    """Return what was measured of both files, or raise FallsShort."""
    glyphs, shipped = Glyphs(test.images, test.labels), report.shipped
    scenes, small = (
        scenes_of(glyphs, plan.verifying, VERIFYING_SEED, shapes) for shapes in (SHAPES, PLACED)
    )
    locator = verify_locator(written[0], LOCATE_CONTRACT, report.locator.networks, scenes, small)
    print(
        f"verify    locate.onnx finds {locator.found:.2%} of the digits in composed scenes, "
        f"{locator.milliseconds:.1f} ms a picture"
    )
    network = (shipped.network, shipped.temperature)
    digit = verify_digit(written[1], DIGIT_CONTRACT, network, test)
    print(
        f"verify    digit.onnx has probabilities within {digit.parity:.3f} of PyTorch's, "
        f"{digit.microseconds:.0f} us a crop"
    )
    trial = try_out(written, test, plan.verifying, VERIFYING_SEED)
    print(
        f"verify    the server reads {trial.accuracy:.2%} of PNG files, {trial.strings:.2%} of "
        f"numbers; refuses {trial.refused:.2%} of pictures without digits"
    )
    check_floors(trial, digit.calibration_error, plan.floors)
    return Measurements(locator, digit, trial)


def _put_in_place(
    plan: Plan, report: Report, written: tuple[Path, Path], measured: Measurements
) -> None:
    content = card(report, measured)
    for path in written:
        write_atomically(plan.out / path.name, path.read_bytes())
    write_atomically(plan.out / "README.md", content.encode())
    print(
        f"card      locate.onnx {measured.locator.sha256[:12]}, digit.onnx "
        f"{measured.digit.sha256[:12]} and their card are in {_shown(plan.out)}"
    )


def _device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "the CPU"


def _shown(folder: Path) -> str:
    """Return a folder's name as it is short to read: from the repository where it is inside."""
    inside = folder.is_relative_to(REPOSITORY)
    return f"{folder.relative_to(REPOSITORY) if inside else folder}/"


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


def _plan(argv: Sequence[str]) -> Plan:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Train the networks, write them as ONNX files, verify what was written.",
        epilog="DIGIT_DATA names a folder with MNIST's four IDX files; without it they are "
        "downloaded once. An interrupted export goes on when the same command is given again.",
    )
    parser.add_argument(
        "--seeds",
        type=_positive,
        default=len(FULL.seeds),
        metavar="N",
        help="train N classifiers, of which several show the spread, and ship what the first of "
        "them has learned from all (default: %(default)s)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="go through everything in a few minutes, for a model that is good for nothing",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where the verified file and its card go (default: models/; for --quick, a scratch "
        "folder in .cache/)",
    )
    arguments = parser.parse_args(argv)
    plan = QUICK if arguments.quick else FULL
    out = arguments.out or plan.out
    if arguments.quick and out.resolve() == MODELS.resolve():
        parser.error("--quick makes no model that is good enough for models/")
    # Seeds learn side by side; a single one, and what learns from all, has all processors.
    return replace(
        plan,
        digit=replace(plan.digit, threads=max(1, plan.processes // arguments.seeds)),
        seeds=range(arguments.seeds),
        distill=replace(plan.distill, threads=plan.processes),
        out=out,
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
