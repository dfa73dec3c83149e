"""tritonclient over HTTP: every applicable call, in every encoding."""

from functools import partial

import numpy as np
import tritonclient.http as triton

from tests.conformance.report import Report

ENCODINGS = [(sent, wanted) for sent in (False, True) for wanted in (False, True)]


def name_of(sent: bool, wanted: bool) -> str:
    """Return the column of an encoding."""
    kinds = ("JSON", "binary")
    return f"{kinds[sent]} to {kinds[wanted]}"


def images(report: Report, sent: bool) -> list[triton.InferInput]:
    """Return the crops as an input."""
    tensor = triton.InferInput("images", list(report.crops.shape), "UINT8")
    tensor.set_data_from_numpy(report.crops, binary_data=sent)
    return [tensor]


def pictures(files: list[bytes]) -> list[triton.InferInput]:
    """Return encoded pictures as an input."""
    elements = np.array(files, dtype=np.object_)
    tensor = triton.InferInput("images", [len(elements)], "BYTES")
    tensor.set_data_from_numpy(elements)
    return [tensor]


def main() -> None:
    """Make all calls."""
    report = Report.from_arguments()
    client = triton.InferenceServerClient(report.url.removeprefix("http://"))

    def metadata() -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("digit", "1")
        assert client.get_server_metadata()["name"] == "digit"
        declared = client.get_model_metadata("digit")["inputs"]
        assert declared[0]["datatype"] == "UINT8"
        assert client.get_model_config("digit")["max_batch_size"] > 0
        assert len(client.get_model_repository_index()) == 3
        assert client.get_inference_statistics("digit")["model_stats"]

    def infer(sent: bool, wanted: bool, coding: str | None = None) -> None:
        outputs = [triton.InferRequestedOutput("probabilities", binary_data=wanted)]
        answer = client.infer(
            "digit",
            images(report, sent),
            outputs=outputs,
            request_id="mine",
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )
        assert answer.get_response()["id"] == "mine"
        report.assert_probabilities(answer.as_numpy("probabilities"))

    def classes() -> None:
        wanted = triton.InferRequestedOutput("probabilities", class_count=3)
        answer = client.infer("digit", images(report, True), outputs=[wanted])
        best = answer.as_numpy("probabilities")[0][0].decode().split(":")
        assert int(best[1]) == report.probabilities[0].argmax()

    def numbers() -> None:
        for files, expected in report.batches():
            answer = client.infer("recognize", pictures(files))
            assert [number.decode() for number in answer.as_numpy("number")] == expected

    def errors() -> None:
        try:
            client.infer("none", images(report, True))
        except triton.InferenceServerException as error:
            assert "no such model" in error.message()
            return
        raise AssertionError("no error")

    report.check("health, metadata", metadata)
    for sent, wanted in ENCODINGS:
        report.check(name_of(sent, wanted), partial(infer, sent, wanted))
    for coding in ("gzip", "deflate"):
        report.check(coding, partial(infer, True, True, coding))
    report.check("classes", classes)
    report.check("pictures", numbers)
    report.check("errors", errors)
    report.print()


if __name__ == "__main__":
    main()
