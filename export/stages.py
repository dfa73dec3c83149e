"""The stages of an export, each from what the one before it made; `run` calls them in order.

What takes long is kept in the plan's work folder under its version, so that it is made only once.
"""

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.card import card, device_name
from export.checkpoint import Checkpoint, State, remember
from export.contract import DIGIT_CONTRACT, LOCATE_CONTRACT
from export.data import Mnist, Split
from export.distill import distill
from export.evaluate import fit_temperature, measure
from export.files import write_atomically
from export.glyphs import Glyphs
from export.harvest import LOOSE, harvest, split_of
from export.locator import Locator
from export.metadata import digit_metadata, locate_metadata
from export.placer import Placer
from export.plan import (
    DISTILL_SEED,
    EXAMPLE_SEED,
    EXAMPLE_SHAPE,
    HELD_OUT_SEED,
    LOCATOR_SEED,
    SETTLE_SEED,
    STRICTNESS,
    TRAINING_SEED,
    VERIFYING_SEED,
    Plan,
)
from export.processes import end_with_parent
from export.report import Measurements, Report, Trained
from export.settle import settle, settled_of
from export.shrink import shrunk
from export.to_onnx import digit_model, locate_model, relabeled
from export.train_digit import Lessons, classifier_of, learned, logits_of
from export.train_locator import train_locator
from export.train_placer import train_placer
from export.trial import PLACED, SHAPES, check_floors, scenes_of, try_out
from export.verify import verify_digit, verify_locator
from export.versions import Versions
from server.settings import REPOSITORY


def train_networks(plan: Plan, split: Split, versions: Versions) -> tuple[Locator, Placer]:
    """Return locator and placer as they answer, trained on scenes of a split's digits."""
    glyphs = Glyphs(split.images, split.labels)

    def finished(stage: str, name: str, make: Callable[[Checkpoint], State]) -> State:
        return _finished(stage, plan.work / f"{name}.pt", "trained on composed scenes", make)

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


def cutter_of(plan: Plan, split: Split, networks: tuple[Locator, Placer], version: str) -> bytes:
    """Return a `locate.onnx` that cuts crops for the classifier; tracing it takes a while."""
    path = plan.work / f"cutter-{version}.onnx"
    if not path.exists():
        examples = examples_of(Glyphs(split.images, split.labels), plan.examples)
        write_atomically(path, locate_model(*networks, LOOSE, examples, {}))
    return path.read_bytes()


def examples_of(glyphs: Glyphs, count: int) -> list[NDArray[np.uint8]]:
    """Return composed pictures, all of one size, to scale the locator's integers by."""
    return [scene.pixels for scene in scenes_of(glyphs, count, EXAMPLE_SEED, [EXAMPLE_SHAPE])]


def harvest_crops(
    plan: Plan, mnist: Mnist, cutter: bytes, versions: Versions
) -> tuple[Split, Split]:
    """Return the crops that a `locate.onnx` cuts from scenes: to train on, and held out."""

    def harvested(split: Split, scenes: int, seed: int, version: str) -> Split:
        glyphs = Glyphs(split.images, split.labels)
        make = partial(harvest, cutter, glyphs, scenes, seed)
        path = plan.work / f"crops-{version}.pt"
        return split_of(_finished("harvest", path, f"cut from {scenes:,} scenes", make))

    return (
        harvested(mnist.train, plan.scenes, TRAINING_SEED, versions.crops),
        harvested(mnist.validation, plan.held_out_scenes, HELD_OUT_SEED, versions.held_out),
    )


def train_digits(plan: Plan, lessons: Lessons, versions: Mapping[int, str]) -> list[State]:
    """Return the weights of the classifiers of all seeds, which learn side by side."""
    jobs = []
    for seed, version in versions.items():
        path = plan.work / f"digit-seed{seed}-{version}.pt"
        print(f"train     seed {seed}, {_place(path, f'on {device_name()}')}")
        jobs.append((path, lessons, plan.digit, seed))
    if min(plan.processes, len(jobs)) == 1:
        return [learned(*job) for job in jobs]
    # Spawned: torch's gradients do not work in a fork of a process that has made some already.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(plan.processes, context, end_with_parent) as pool:
        return list(pool.map(learned, *zip(*jobs, strict=True)))


def distill_digits(plan: Plan, lessons: Lessons, teachers: Sequence[State], version: str) -> State:
    """Return the weights of the classifier that learned from all."""
    make = partial(distill, lessons, plan.distill, teachers, DISTILL_SEED)
    path = plan.work / f"distilled-{version}.pt"
    return _finished("distill", path, f"from {len(teachers)}", make)


def _finished(stage: str, path: Path, how: str, make: Callable[[Checkpoint], State]) -> State:
    """Return a stage's result, from its file where an earlier run finished it; say which."""
    print(f"{stage:9} {_place(path, how)}")
    return remember(path, make)


def _place(path: Path, how: str) -> str:
    return f"{'finished by an earlier run' if path.exists() else how}: {path.stem}"


def evaluate(name: str, weights: State, splits: tuple[Split, Split, Split]) -> Trained:
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


def write(report: Report, cutter: bytes, lessons: Lessons) -> tuple[Path, Path]:
    """Return locate.onnx and digit.onnx, in the work folder: they have yet to be verified.

    Args:
        report: what they are made from.
        cutter: a `locate.onnx` of another strictness.
        lessons: what the classifier learned from, of which a few set the scale of its integers.
    """
    plan, shipped = report.plan, report.shipped
    # As many of the one as of the other, as in training.
    count = plan.examples // len(lessons)
    examples = np.concatenate([split.images[:count] for split in lessons])
    metadata = digit_metadata(report)
    contents = {
        "locate.onnx": relabeled(cutter, STRICTNESS, locate_metadata(report)),
        "digit.onnx": digit_model(shipped.network, shipped.temperature, examples, metadata),
    }
    for name, content in contents.items():
        write_atomically(plan.work / name, content)
        print(f"export    {len(content):,} bytes to {name}")
    return plan.work / "locate.onnx", plan.work / "digit.onnx"


def verify(report: Report, written: tuple[Path, Path], test: Split) -> Measurements:
    """Return what was measured of both files, or raise FallsShort."""
    plan, shipped = report.plan, report.shipped
    glyphs = Glyphs(test.images, test.labels)
    scenes, small = (
        scenes_of(glyphs, plan.verifying, VERIFYING_SEED, shapes) for shapes in (SHAPES, PLACED)
    )
    locate_file, digit_file = written
    locator = verify_locator(locate_file, LOCATE_CONTRACT, report.networks, scenes, small)
    print(
        f"verify    locate.onnx finds {locator.found:.2%} of the digits in composed scenes, "
        f"{locator.milliseconds:.1f} ms a picture"
    )
    network = (shipped.network, shipped.temperature)
    digit = verify_digit(digit_file, DIGIT_CONTRACT, network, test)
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


def put_in_place(report: Report, written: tuple[Path, Path], measured: Measurements) -> None:
    """Replace the models and their card by files that were verified."""
    out = report.plan.out
    content = card(report, measured)
    for path in written:
        write_atomically(out / path.name, path.read_bytes())
    write_atomically(out / "README.md", content.encode())
    print(
        f"card      locate.onnx {measured.locator.sha256[:12]}, digit.onnx "
        f"{measured.digit.sha256[:12]} and their card are in {shown(out)}"
    )


def shown(folder: Path) -> str:
    """Return a folder's name as it is short to read: from the repository where it is inside."""
    inside = folder.is_relative_to(REPOSITORY)
    return f"{folder.relative_to(REPOSITORY) if inside else folder}/"
