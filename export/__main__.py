"""`python -m export`: from MNIST to the verified files in models/, stage by stage."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import torch

from export.contract import FallsShort
from export.data import DataSettings, Mnist, Split, check_test, load_mnist, load_test
from export.fonts import check_fonts
from export.harvest import split_of
from export.plan import CACHE, FULL, MODELS, QUICK, Plan
from export.release import evaluate, put_in_place, shown, verify, write
from export.report import Counts, Report
from export.sources import DataError
from export.stages import networks_of, run_in_parallel, stages_of
from export.train_digit import Lessons
from server.model import UnusableModel

INTERRUPTED = 130  # the exit status that shells give to a program ended by Ctrl-C
HOW_TO_RESUME = "Run the same command again to resume from the last checkpoint."


class CodeChanged(Exception):
    """The code was edited during the run, so its results would be kept under a wrong version."""


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command line; return the exit status."""
    plan = _plan(argv)
    # By default, cuDNN may sum gradients in another order each time.
    torch.backends.cudnn.deterministic = True
    # OpenCV's threads do not survive the fork into the processes that compose scenes, which would
    # wait for them forever.
    cv2.setNumThreads(1)
    data = DataSettings.from_environment(environ, CACHE / "mnist")
    command = " ".join(["python -m export", *argv])
    try:
        check_fonts()
        mnist = load_mnist(data)
        check_test(data)
        run(plan, mnist, lambda: load_test(data), command)
    except DataError as error:
        return _fail(f"data: {error}")
    except CodeChanged as error:
        return _fail(f"code: {error}")
    except (FallsShort, UnusableModel) as error:
        return _fail(f"verify: {error}\nNothing in {shown(plan.out)} was changed.")
    except OSError as error:
        return _fail(f"files: {error}\n{HOW_TO_RESUME}")
    except KeyboardInterrupt:
        _fail(f"\nInterrupted. {HOW_TO_RESUME}")
        return INTERRUPTED
    return 0


def run(plan: Plan, mnist: Mnist, test: Callable[[], Split], command: str) -> None:
    """Train, evaluate, write and verify the models, and only then put them in place.

    Args:
        plan: how much work to do.
        mnist: the pictures to train on and to choose by.
        test: reads the test set; called once, when nothing is left to choose.
        command: the command line, which the card names as the way to reproduce the files.

    Raises:
        CodeChanged: export/ was edited during the run.
        FallsShort: a written file is not good enough; `plan.out` is unchanged.
    """
    mnist = Mnist(mnist.train.head(plan.pictures), mnist.validation.head(plan.pictures))
    print(
        f"data      {len(mnist.train):,} training pictures, "
        f"{len(mnist.validation):,} validation pictures"
    )
    stages = stages_of(plan, mnist)
    # Reading a stage's result runs it, after the stages that it depends on.
    networks = networks_of(stages.settled.result, stages.placer.result)
    crops, held_out = split_of(stages.crops.result), split_of(stages.held_out.result)
    # The processes that train the seeds import the code anew: if it was edited since, they would
    # keep its results under the old version.
    if stages_of(plan, mnist) != stages:
        raise CodeChanged("export/ was edited during the run; run the same command again.")
    weights = run_in_parallel(stages.digits, plan.processes)
    distilled = stages.distilled.result
    judged = test().head(plan.pictures)
    splits = (mnist.validation, held_out, judged)
    report = Report(
        command=command,
        plan=plan,
        networks=networks,
        versions=(stages.cutter.version, stages.distilled.version),
        pictures=Counts(train=len(mnist.train), validation=len(mnist.validation)),
        crops=Counts(train=len(crops), validation=len(held_out)),
        trained=[
            evaluate(f"seed {seed}", of_seed, splits)
            for seed, of_seed in zip(plan.seeds, weights, strict=True)
        ],
        shipped=evaluate("distilled", distilled, splits),
    )
    written = write(report, stages.cutter.result, Lessons(mnist.train, crops))
    measured = verify(report, written, judged)
    put_in_place(report, written, measured)


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


def _plan(argv: Sequence[str]) -> Plan:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Train the networks, write them as ONNX files, and verify these files.",
        epilog="DIGIT_DATA names a folder with MNIST's four IDX files; without it they are "
        "downloaded once. The same command resumes an interrupted export.",
    )
    parser.add_argument(
        "--seeds",
        type=_positive,
        default=len(FULL.seeds),
        metavar="N",
        help="train N classifiers from different seeds, which shows the spread, and ship the "
        "first of them, distilled from all (default: %(default)s)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="try every stage in a few minutes; the models are useless",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where the verified files and their card go (default: models/; with --quick, a "
        "scratch folder in .cache/)",
    )
    arguments = parser.parse_args(argv)
    plan = QUICK if arguments.quick else FULL
    out = arguments.out or plan.out
    if arguments.quick and out.resolve() == MODELS.resolve():
        parser.error("--quick trains too little for models/; choose another --out")
    # Seeds are trained in parallel; a single one, and the distillation, use all processors.
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
