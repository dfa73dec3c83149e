"""The metadata that each model file has inside."""

import json
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from export.contract import DIGIT_CONTRACT, LOCATE_CONTRACT
from export.data import checksums
from export.fonts import FONTS
from export.placer import SMALL
from export.plan import DISTILL_SEED, LOCATOR_SEED, STRICTNESS
from export.report import Report
from export.sheets import SMALLEST

WORKING_SIZE = 512
LABELS = [*"0123456789", "no digit"]
DIGIT_INPUT = f"{DIGIT_CONTRACT.inputs['images']}, ink bright on 0, placed as MNIST's digits are"
DIGIT_OUTPUT = f"{DIGIT_CONTRACT.outputs['probabilities']}, calibrated, rows sum to 1"
LOCATE_INPUT = (
    f"{LOCATE_CONTRACT.inputs['pixels']}, black 0, white 255, dark on light or light on dark"
)
_LOCATED = {
    "boxes": "x, y, width, height in pixels",
    "scores": "likeliest first",
    "crops": "ink bright on 0, as digit.onnx takes them",
}
LOCATE_OUTPUTS = {
    name: f"{form}, {_LOCATED[name]}" for name, form in LOCATE_CONTRACT.outputs.items()
}


def locate_metadata(report: Report) -> dict[str, str]:
    """Return the metadata of `locate.onnx`: JSON values by the keys in LOCATE_CONTRACT."""
    plan, (version, _) = report.plan, report.versions
    values = {
        "name": "locate",
        "version": version,
        "input": LOCATE_INPUT,
        "output": LOCATE_OUTPUTS,
        "working_size": WORKING_SIZE,
        **STRICTNESS._asdict(),
        "small": SMALL,
        "smallest": SMALLEST,
        "recipe": {
            "locator": asdict(plan.locator),
            "settled": asdict(plan.settle),
            "placer": asdict(plan.placer),
        },
        "data": checksums(),
        "fonts": FONTS,
        "seed": LOCATOR_SEED,
        "parameters": sum(map(parameters, report.networks)),
        "torch": torch_version(),
    }
    assert values.keys() == LOCATE_CONTRACT.metadata
    return _as_json(values)


def digit_metadata(report: Report) -> dict[str, str]:
    """Return the metadata of `digit.onnx`: JSON values by the keys in DIGIT_CONTRACT."""
    plan, shipped, (_, version) = report.plan, report.shipped, report.versions
    values = {
        "name": "digit",
        "version": version,
        "labels": LABELS,
        "input": DIGIT_INPUT,
        "output": DIGIT_OUTPUT,
        "recipe": {"trained": asdict(plan.digit), "distilled": asdict(plan.distill)},
        "data": checksums(),
        "seed": DISTILL_SEED,
        "parameters": parameters(shipped.network),
        "temperature": round(shipped.temperature, 6),
        "torch": torch_version(),
        "figures": {
            "validation_accuracy": round(shipped.validation.accuracy, 6),
            "crop_accuracy": round(shipped.crops.accuracy, 6),
            "test_accuracy": round(shipped.test.accuracy, 6),
            "test_calibration_error": round(shipped.test.calibration_error, 6),
            "test_accuracy_by_seed": {
                one.name: round(one.test.accuracy, 6) for one in report.trained
            },
        },
    }
    assert values.keys() == DIGIT_CONTRACT.metadata
    return _as_json(values)


def _as_json(values: dict[str, Any]) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in values.items()}


def torch_version() -> str:
    """Return the version of torch, without the suffix of its build."""
    return torch.__version__.partition("+")[0]


def parameters(network: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
