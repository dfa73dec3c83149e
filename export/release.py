"""From trained weights to files in models/: evaluated, written, verified, put in place."""

from pathlib import Path

import numpy as np

from export.card import card
from export.checkpoint import State
from export.contract import DIGIT_CONTRACT, LOCATE_CONTRACT
from export.data import Split
from export.evaluate import fit_temperature, measure
from export.files import write_atomically
from export.glyphs import Glyphs
from export.metadata import digit_metadata, locate_metadata
from export.plan import STRICTNESS, VERIFYING_SEED
from export.report import Measurements, Report, Trained
from export.shrink import shrunk
from export.to_onnx import digit_model, relabeled
from export.train_digit import Lessons, classifier_of, logits_of
from export.trial import PLACED, SEARCHED, check_floors, scenes_of, try_out
from export.verify import verify_digit, verify_locator
from server.settings import REPOSITORY


def evaluate(name: str, weights: State, splits: tuple[Split, Split, Split]) -> Trained:
    """Evaluate a classifier, and return it with its temperature and its figures.

    Args:
        name: which one it is.
        weights: of its network.
        splits: MNIST's validation pictures and held-out crops, on both of which the temperature is
            fitted, and MNIST's test pictures.
    """
    network = shrunk(classifier_of(weights))
    logits = [logits_of(network, split.images) for split in splits]
    validation, crops, _ = splits
    # As many of each, so that confidence is calibrated for clean digits, too.
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
    """Write locate.onnx and digit.onnx to the work folder, unverified, and return their paths.

    Args:
        report: what they are made from.
        cutter: a `locate.onnx` of another strictness.
        lessons: the classifier's training data, a few of which calibrate its quantization.
    """
    plan, shipped = report.plan, report.shipped
    # As many of each, as in training.
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
    """Verify both files, and return their figures, or raise FallsShort."""
    plan, shipped = report.plan, report.shipped
    glyphs = Glyphs(test.images, test.labels)
    scenes, small = (
        scenes_of(glyphs, plan.verifying, VERIFYING_SEED, shapes) for shapes in (SEARCHED, PLACED)
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
    """Replace the models and their card with the verified ones."""
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
    """Return a folder's name, relative to the repository if it is inside."""
    inside = folder.is_relative_to(REPOSITORY)
    return f"{folder.relative_to(REPOSITORY) if inside else folder}/"
