"""KServe's REST client, with protocol V2."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from tests.conformance.report import Report


async def call_all(report: Report) -> None:
    """Make all calls, and record each."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))

    async def metadata() -> None:
        assert await client.is_server_live(report.url)
        assert await client.is_server_ready(report.url)
        assert await client.is_model_ready(report.url, "digit")

    def infer(sent: bool, wanted: bool) -> Callable[[], Awaitable[None]]:
        async def call() -> None:
            tensor = InferInput("images", list(report.crops.shape), "UINT8")
            tensor.set_data_from_numpy(report.crops, binary_data=sent)
            outputs = [RequestedOutput("probabilities", {"binary_data": wanted})]
            asked = InferRequest("digit", [tensor], request_id="a", request_outputs=outputs)
            answer = await client.infer(report.url, asked, model_name="digit")
            assert answer.id == "a"
            report.assert_probabilities(answer.outputs[0].as_numpy())

        return call

    async def numbers() -> None:
        for files, expected in report.batches():
            tensor = InferInput("images", [len(files)], "BYTES")
            tensor.set_data_from_numpy(np.array(files, np.object_), binary_data=True)
            asked = InferRequest("recognize", [tensor])
            answer = await client.infer(report.url, asked, model_name="recognize")
            (found,) = [output for output in answer.outputs if output.name == "number"]
            assert list(found.data) == expected, found.data

    async def errors() -> None:
        tensor = InferInput("images", [1], "UINT8")
        tensor.set_data_from_numpy(np.zeros(1, np.uint8), binary_data=False)
        try:
            await client.infer(report.url, InferRequest("digit", [tensor]), model_name="digit")
        except httpx.HTTPStatusError as error:
            assert "the shape of images" in str(error)
            return
        raise AssertionError("no error")

    calls: dict[str, Callable[[], Awaitable[None]]] = {"health, metadata": metadata}
    kinds = ("JSON", "binary")
    for sent in (False, True):
        for wanted in (False, True):
            calls[f"{kinds[sent]} to {kinds[wanted]}"] = infer(sent, wanted)
    calls |= {"pictures": numbers, "errors": errors}
    for name, call in calls.items():
        outcome: BaseException | None = None
        try:
            await call()
        except Exception as error:
            outcome = error

        def result(outcome: BaseException | None = outcome) -> None:
            if outcome is not None:
                raise outcome

        report.check(name, result)


if __name__ == "__main__":
    it = Report.from_arguments()
    asyncio.run(call_all(it))
    it.print()
