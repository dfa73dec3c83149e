"""open-inference-openapi: the client generated from the protocol's OpenAPI description."""

import base64

from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.errors import BadRequestError
from open_inference.openapi.types import InferenceRequest, RequestInput, TensorData

from tests.conformance.report import Report


def main() -> None:
    """Make all calls."""
    report = Report.from_arguments()
    client = OpenInferenceClient(base_url=report.url)

    def metadata() -> None:
        client.check_server_liveness()
        client.check_server_readiness()
        client.check_model_readiness("digit")
        assert client.read_server_metadata().name == "digit"
        assert client.read_model_metadata("digit").inputs[0].datatype == "UINT8"

    def infer(model: str, tensor: RequestInput) -> dict[str, list[object]]:
        answer = client.model_infer(model, request=InferenceRequest(id="a", inputs=[tensor]))
        assert answer.id == "a"
        return {output.name: output.data.__root__ for output in answer.outputs}

    def crops() -> None:
        data = TensorData.parse_obj(report.crops.ravel().tolist())
        shape = list(report.crops.shape)
        tensor = RequestInput(name="images", shape=shape, datatype="UINT8", data=data)
        found = infer("digit", tensor)["probabilities"]
        flat = [float(str(value)) for value in found]
        report.assert_probabilities([flat[k : k + 11] for k in range(0, len(flat), 11)])

    def numbers() -> None:
        for files, expected in report.batches():
            texts = [base64.b64encode(file).decode() for file in files]
            data = TensorData.parse_obj(texts)
            tensor = RequestInput(name="images", shape=[len(texts)], datatype="BYTES", data=data)
            found = infer("recognize", tensor)["number"]
            # The client converts strings that look like numbers.
            texts = [f"{one:.0f}" if isinstance(one, float) else str(one) for one in found]
            assert texts == expected

    def errors() -> None:
        data = TensorData.parse_obj([0])
        tensor = RequestInput(name="images", shape=[1], datatype="UINT8", data=data)
        try:
            infer("digit", tensor)
        except BadRequestError as error:
            assert "the shape of images" in str(error.body)
            return
        raise AssertionError("no error")

    report.check("health, metadata", metadata)
    report.check("JSON to JSON", crops)
    report.check("pictures", numbers)
    report.check("errors", errors)
    report.print()


if __name__ == "__main__":
    main()
