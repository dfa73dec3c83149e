"""The models of the Open Inference Protocol, from input tensors to output tensors."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from server.answer import Answer
from server.errors import MalformedTensors
from server.header import sniff
from server.model import CROP_SIDE, LABELS
from server.state import State
from server.tensors import BYTES, InferRequest, Tensor, classified
from server.uploads import from_text, too_many_pictures

# Crops per job of the worker, so that other requests get their turns in between.
_JOB: Final = 64
_SHAPES: Final = "(N, 28, 28), (N, 1, 28, 28) or (N, 784)"

Shape = tuple[int, ...]
# Name, datatype and shape, in which -1 stands for any size.
Declared = tuple[str, str, Shape]


@dataclass(frozen=True)
class Model:
    """The declaration of a model.

    Attributes:
        inputs: what it takes; `digit` accepts more than this, see `_crops`.
        outputs: what it returns.
    """

    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]


MODELS: Final = {
    # With a channel and one output, as Triton's examples expect.
    "digit": Model(
        (("images", "UINT8", (-1, 1, CROP_SIDE, CROP_SIDE)),),
        (("probabilities", "FP32", (-1, len(LABELS))),),
    ),
    "locate": Model(
        (("pixels", "UINT8", (-1, -1, 1)),),
        (
            ("boxes", "FP32", (-1, 4)),
            ("scores", "FP32", (-1,)),
            ("crops", "UINT8", (-1, CROP_SIDE, CROP_SIDE)),
        ),
    ),
    "recognize": Model(
        (("images", BYTES, (-1,)),),
        (
            ("number", BYTES, (-1,)),
            ("digit", "INT64", (-1,)),
            ("confidence", "FP32", (-1,)),
            ("probabilities", "FP32", (-1, len(LABELS))),
        ),
    ),
}


def raw_tensor(body: bytes) -> Tensor:
    """Return the tensor of a body without any JSON: an encoded picture, or crops."""
    if sniff(body) or not body or len(body) % CROP_SIDE**2:
        return Tensor("images", [body], (1,))
    crops = np.frombuffer(body, np.uint8).reshape(-1, CROP_SIDE, CROP_SIDE)
    return Tensor("images", crops, crops.shape)


async def infer(name: str, asked: InferRequest, state: State) -> tuple[list[Tensor], int]:
    """Return all outputs of a model, and the number of pictures."""
    if len(asked.inputs) != 1:
        raise MalformedTensors(f"{name} has one input; {len(asked.inputs)} were sent")
    (tensor,) = asked.inputs
    declared = MODELS[name].inputs[0][0]
    if tensor.name != declared:
        raise MalformedTensors(f"{name} has no input {tensor.name!r}; it has {declared!r}")
    if name == "locate":
        return await _locate(tensor, state), 1
    if isinstance(tensor.values, list):
        count = len(tensor.values)
        return await _read_pictures(tensor.values, state), count
    if name == "recognize":
        raise MalformedTensors("recognize takes encoded pictures, as a tensor of BYTES")
    crops = _crops(tensor)
    return await _classify(crops, state), len(crops)


async def _locate(tensor: Tensor, state: State) -> list[Tensor]:
    """Return the boxes, scores and crops of a picture (H, W, 1)."""
    locator = state["recognizer"].models.locator
    pixels = _pixels(tensor, locator.working_size)
    boxes, scores, crops = await state["worker"].run(locator.locate, pixels)
    return [
        Tensor("boxes", boxes, boxes.shape),
        Tensor("scores", scores, scores.shape),
        Tensor("crops", crops, crops.shape),
    ]


async def _classify(crops: NDArray[np.uint8], state: State) -> list[Tensor]:
    """Return the class probabilities of crops (N, 28, 28)."""
    run, classify = state["worker"].run, state["recognizer"].models.classifier.classify
    jobs = [crops[k : k + _JOB] for k in range(0, max(len(crops), 1), _JOB)]
    probabilities = np.concatenate([await run(classify, job) for job in jobs])
    return [Tensor("probabilities", probabilities, probabilities.shape)]


async def _read_pictures(elements: list[bytes], state: State) -> list[Tensor]:
    """Return what is read in encoded pictures, removing them from the list.

    If one cannot be read, its problem is raised.
    """
    most = state["settings"].max_pictures
    if len(elements) > most:
        raise too_many_pictures(most)
    # JSON has no bytes, so there a picture is base64 or a data: URI.
    pictures = []
    while elements:  # so that no picture is held twice, as text and as bytes
        one = elements.pop(0)
        pictures.append(one if sniff(one) else from_text(one.decode("latin-1")))
    recognize = state["recognizer"].recognize
    answers = [await state["worker"].run(recognize, picture) for picture in pictures]
    record = state["record"]
    record.confidences += [answer.confidence for answer in answers]
    record.digits += sum(len(answer.digits) for answer in answers)
    return _tensors_of(answers)


def _tensors_of(answers: list[Answer]) -> list[Tensor]:
    """Return answers as the outputs of `recognize`."""
    count = len(answers)
    digits = np.array(
        [-1 if answer.digit is None else answer.digit for answer in answers], np.int64
    )
    confidences = np.array([answer.confidence for answer in answers], np.float32)
    probabilities = np.array([_chances(answer) for answer in answers], np.float32)
    return [
        Tensor("number", [answer.number.encode() for answer in answers], (count,)),
        Tensor("digit", digits, (count,)),
        Tensor("confidence", confidences, (count,)),
        Tensor("probabilities", probabilities.reshape(count, len(LABELS)), (count, len(LABELS))),
    ]


def _chances(answer: Answer) -> list[float]:
    """Return the probabilities of a single digit; 1 for "no digit" if none; zeros if several."""
    if answer.digit is None:
        return [0.0] * 10 + [float(not answer.digits)]
    chances = answer.digits[0].probabilities
    return [*chances, max(0.0, 1 - sum(chances))]


def _crops(tensor: Tensor) -> NDArray[np.uint8]:
    """Return a tensor as crops (N, 28, 28), uint8."""
    count, *rest = tensor.shape or (0,)
    if tuple(rest) not in {(CROP_SIDE, CROP_SIDE), (1, CROP_SIDE, CROP_SIDE), (CROP_SIDE**2,)}:
        raise MalformedTensors(f"the shape of images has to be {_SHAPES}, not {tensor.shape}")
    return _as_bytes(tensor).reshape(count, CROP_SIDE, CROP_SIDE)


def _pixels(tensor: Tensor, most: int) -> NDArray[np.uint8]:
    """Return a tensor as a picture (H, W, 1), uint8."""
    *size, channels = tensor.shape or (0,)
    if isinstance(tensor.values, list) or len(tensor.shape) != len("HWC") or channels != 1:
        raise MalformedTensors(f"pixels have to be numbers (H, W, 1), not {tensor.shape}")
    if not all(0 < side <= most for side in size):
        raise MalformedTensors(f"each side of pixels has to be 1 to {most}, not {tensor.shape}")
    return _as_bytes(tensor)


def _as_bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """Return a tensor's values as bytes; floating-point values may also be from 0 to 1."""
    values = np.asarray(tensor.values)
    if values.dtype == np.uint8 or not values.size:
        return values.astype(np.uint8, copy=False)
    low, high = float(values.min()), float(values.max())
    # NaN fails this comparison, too.
    if not 0 <= low <= high <= 255:  # noqa: PLR2004 - a byte's values
        raise MalformedTensors(f"values of {tensor.name} have to be from 0 to 255")
    if values.dtype.kind == "f" and high <= 1:
        values = values * 255.0
    rounded: NDArray[np.uint8] = np.rint(values).astype(np.uint8)
    return rounded


def chosen(name: str, asked: InferRequest, outputs: list[Tensor]) -> list[Tensor]:
    """Return the outputs that the client wants, as values or as classes."""
    found = {tensor.name: tensor for tensor in outputs}
    if not asked.outputs:
        # For an encoded picture, `digit` has more outputs than it declares, if asked for by name.
        return [found[declared] for declared, *_ in MODELS[name].outputs]
    picked = []
    for wanted in asked.outputs:
        if wanted.name not in found:
            raise MalformedTensors(
                f"{name} has no output {wanted.name!r}; it has {', '.join(found)}"
            )
        tensor = found[wanted.name]
        if wanted.classes:
            if tensor.name != "probabilities":
                raise MalformedTensors("only probabilities can be had as classes")
            tensor = classified(tensor, wanted.classes, LABELS)
        picked.append(tensor)
    return picked
