"""`python -m export`: from MNIST to the verified files in models/, stage by stage."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import onnxruntime
import torch

from export.card import METADATA, Report, Trained, card, metadata
from export.checkpoint import State, fingerprint, remember
from export.data import DataSettings, Mnist, Split, checksums, load_mnist, load_test
from export.evaluate import fit_temperature, measure
from export.files import write_atomically
from export.fonts import check_fonts
from export.glyphs import Glyphs
from export.harvest import harvest, split_of
from export.locator import Locator
from export.sources import DataError
from export.to_onnx import digit_model
from export.train import DIGIT_RECIPE, Recipe, classifier_of, device, logits_of, train_digit
from export.train_locator import LOCATOR_RECIPE, train_locator
from export.verify import Contract, FallsShort, Floors, Verification, verify_digit

REPOSITORY = Path(__file__).parent.parent
MODELS = REPOSITORY / "models"
CACHE = REPOSITORY / ".cache"

DIGIT_CONTRACT = Contract(
    inputs={"images": "uint8 (N, 28, 28)"},
    outputs={"probabilities": "float32 (N, 11)"},
    metadata=METADATA,
    max_bytes=620_000,
)
LOCATOR_SEED, TRAINING_SEED, HELD_OUT_SEED = 0, 1, 2
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


@dataclass(frozen=True)
class Plan:
    """How much work an export is, and what has to come of it.

    Attributes:
        locator: how the locator is trained.
        digit: how each classifier is trained.
        seeds: one classifier for each; the first is shipped, the others show the spread.
        pictures: how many of each split are used; None for all.
        scenes: how many are composed for the classifier's crops to be cut from, ...
        held_out_scenes: ... and how many, with other digits, for choices and calibration.
        floors: what the written file must reach.
        out: where the verified file goes, and its card.
        work: where what is unfinished is kept.
    """

    locator: Recipe
    digit: Recipe
    seeds: Sequence[int]
    pictures: int | None
    scenes: int
    held_out_scenes: int
    floors: Floors
    out: Path
    work: Path


FULL = Plan(
    locator=LOCATOR_RECIPE,
    digit=DIGIT_RECIPE,
    seeds=[0],
    pictures=None,
    scenes=60_000,
    held_out_scenes=4_000,
    floors=Floors(accuracy=0.996, calibration_error=0.003),
    out=MODELS,
    work=CACHE / "export",
)
# Through everything in three minutes: enough to see that all fits together, worth nothing else.
QUICK = replace(
    FULL,
    locator=replace(FULL.locator, steps=60, batch=4, average_decay=0.9),
    digit=replace(FULL.digit, steps=120, batch=100, average_decay=0.95),
    pictures=2_000,
    scenes=500,
    held_out_scenes=200,
    floors=Floors(accuracy=0.6, calibration_error=0.5),
    out=CACHE / "export" / "quick",
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
    except FallsShort as error:
        return _fail(f"verify: {error}\nNothing in {_shown(plan.out)} was changed.")
    except KeyboardInterrupt:
        _fail("\nInterrupted. The same command goes on from the last checkpoint.")
        return INTERRUPTED
    return 0


def run(plan: Plan, mnist: Mnist, test: Callable[[], Split], command: str) -> None:
    """Train, evaluate, write, verify, and only then put the model and its card in place.

    Args:
        plan: how much of it.
        mnist: what is trained on and chosen by.
        test: reads the test set; called once, when nothing is left to choose.
        command: what the card names as the way to do it again.

    Raises:
        FallsShort: the written file is not good enough; `plan.out` is as it was.
    """
    mnist = Mnist(mnist.train.head(plan.pictures), mnist.validation.head(plan.pictures))
    print(
        f"data      {len(mnist.train):,} pictures to train on, {len(mnist.validation):,} to choose"
    )
    locator = _train_locator(plan, mnist)
    crops = _harvest(plan, locator, mnist, is_held_out=False)
    held_out = _harvest(plan, locator, mnist, is_held_out=True)
    weights = [_train_digit(plan, mnist, crops, seed) for seed in plan.seeds]
    judged = test().head(plan.pictures)
    trained = [
        _evaluate(seed, state, mnist.validation, judged)
        for seed, state in zip(plan.seeds, weights, strict=True)
    ]
    report = Report(
        command=command,
        version=_digit_version(plan, mnist, plan.seeds[0]),
        recipe=plan.digit,
        pictures=(len(mnist.train), len(mnist.validation)),
        trained=trained,
        device=_device_name(),
    )
    written = _write(plan, report)
    verification = _verify(plan, report, written, judged)
    _put_in_place(plan, report, written, verification)


def _train_locator(plan: Plan, mnist: Mnist) -> Locator:
    """Return the locator, set to answer; from the work folder where an earlier run finished it."""
    glyphs = Glyphs(mnist.train.images, mnist.train.labels)
    path = plan.work / f"locator-{_locator_version(plan, mnist)}.pt"
    print(f"locate    {_place(path, 'trained on composed scenes')}")
    weights = remember(
        path,
        lambda checkpoint: train_locator(glyphs, plan.locator, LOCATOR_SEED, checkpoint),
    )
    locator = Locator()
    locator.load_state_dict(weights)
    return locator.eval()


def _harvest(plan: Plan, locator: Locator, mnist: Mnist, is_held_out: bool) -> Split:
    """Return what the locator cuts from scenes; those held out are made of other digits."""
    split = mnist.validation if is_held_out else mnist.train
    count = plan.held_out_scenes if is_held_out else plan.scenes
    glyphs = Glyphs(split.images, split.labels)
    path = plan.work / f"crops-{_crops_version(plan, mnist, is_held_out)}.pt"
    print(f"harvest   {_place(path, f'cut from {count:,} scenes')}")
    seed = HELD_OUT_SEED if is_held_out else TRAINING_SEED
    crops = remember(path, lambda checkpoint: harvest(locator, glyphs, count, seed, checkpoint))
    return split_of(crops)


def _train_digit(plan: Plan, mnist: Mnist, crops: Split, seed: int) -> State:
    """Return the weights of the classifier of a seed."""
    path = plan.work / f"digit-seed{seed}-{_digit_version(plan, mnist, seed)}.pt"
    print(f"train     seed {seed}, {_place(path, f'on {_device_name()}')}")
    return remember(
        path, lambda checkpoint: train_digit(mnist.train, crops, plan.digit, seed, checkpoint)
    )


def _place(path: Path, how: str) -> str:
    return f"{'finished by an earlier run' if path.exists() else how}: {path.stem}"


def _locator_version(plan: Plan, mnist: Mnist) -> str:
    """Return the fingerprint of all that the locator's weights depend on."""
    settings = {
        "recipe": asdict(plan.locator),
        "seed": LOCATOR_SEED,
        "data": checksums(),
        "pictures": [len(mnist.train), len(mnist.validation)],
        "torch": torch.__version__,
        "opencv": cv2.__version__,
    }
    return fingerprint(_source(train_locator), settings)


def _crops_version(plan: Plan, mnist: Mnist, is_held_out: bool) -> str:
    """Return the fingerprint of all that a harvest depends on."""
    settings = {
        "locator": _locator_version(plan, mnist),
        "scenes": [plan.scenes, plan.held_out_scenes],
        "is_held_out": is_held_out,
        "onnxruntime": onnxruntime.__version__,
    }
    return fingerprint(_source(harvest), settings)


def _digit_version(plan: Plan, mnist: Mnist, seed: int) -> str:
    """Return the fingerprint of all that the classifier's weights for a seed depend on."""
    settings = {
        "crops": _crops_version(plan, mnist, is_held_out=False),
        "recipe": asdict(plan.digit),
        "seed": seed,
        "device": device().type,
    }
    return fingerprint(_source(train_digit), settings)


def _source(function: Callable[..., object]) -> Path:
    return Path(inspect.getfile(function))


def _evaluate(seed: int, weights: State, validation: Split, test: Split) -> Trained:
    """Return a network with its temperature, fitted on validation, and the figures of both."""
    network = classifier_of(weights)
    logits = logits_of(network, validation.images)
    temperature = fit_temperature(logits, validation.labels)
    one = Trained(
        seed=seed,
        network=network,
        temperature=temperature,
        validation=measure(logits, validation.labels, temperature),
        test=measure(logits_of(network, test.images), test.labels, temperature),
    )
    print(
        f"evaluate  seed {seed}: validation {one.validation.accuracy:.2%}, test "
        f"{one.test.accuracy:.2%}, calibration error {one.test.calibration_error:.2%} "
        f"at temperature {temperature:.3f}"
    )
    return one


def _write(plan: Plan, report: Report) -> Path:
    """Return the file that was written, in the work folder: it has yet to be verified."""
    path = plan.work / "digit.onnx"
    content = digit_model(report.shipped.network, report.shipped.temperature, metadata(report))
    write_atomically(path, content)
    print(f"export    {len(content):,} bytes to {path.name}")
    return path


def _verify(plan: Plan, report: Report, written: Path, test: Split) -> Verification:
    network = (report.shipped.network, report.shipped.temperature)
    verification = verify_digit(written, DIGIT_CONTRACT, network, test, plan.floors)
    print(
        f"verify    {verification.accuracy:.2%} from PNG files, probabilities within "
        f"{verification.parity:.0e} of PyTorch's, {verification.microseconds:.0f} us a crop"
    )
    return verification


def _put_in_place(plan: Plan, report: Report, written: Path, verification: Verification) -> None:
    content = card(report, verification)
    write_atomically(plan.out / "digit.onnx", written.read_bytes())
    write_atomically(plan.out / "README.md", content.encode())
    print(f"card      digit.onnx {verification.sha256[:12]} and its card are in {_shown(plan.out)}")


def _device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU threads"


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
        help="train N networks for mean and spread in the card, and ship the first (default: 1)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="go through everything in a minute or two, for a model that is good for nothing",
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
    return replace(plan, seeds=range(arguments.seeds), out=out)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
