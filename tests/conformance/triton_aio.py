"""tritonclient's asyncio client: the same calls as triton.py."""

import asyncio

import tritonclient.http.aio as triton
from tritonclient.utils import InferenceServerException

from tests.conformance.report import Report
from tests.conformance.triton import ENCODINGS, images, name_of, pictures


async def call_all(report: Report) -> None:
    """Make all calls, and record each."""
    async with triton.InferenceServerClient(report.url.removeprefix("http://")) as client:

        async def metadata() -> None:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("digit")
            assert (await client.get_server_metadata())["name"] == "digit"
            assert (await client.get_model_config("digit"))["max_batch_size"] > 0
            assert len(await client.get_model_repository_index()) == 3

        async def infer(sent: bool, wanted: bool, coding: str | None = None) -> None:
            outputs = [triton.InferRequestedOutput("probabilities", binary_data=wanted)]
            answer = await client.infer(
                "digit",
                images(report, sent),
                outputs=outputs,
                request_compression_algorithm=coding,
            )
            report.assert_probabilities(answer.as_numpy("probabilities"))

        async def classes() -> None:
            wanted = triton.InferRequestedOutput("probabilities", class_count=3)
            answer = await client.infer("digit", images(report, True), outputs=[wanted])
            assert answer.as_numpy("probabilities").shape == (3, 3)

        async def numbers() -> None:
            for files, expected in report.batches():
                answer = await client.infer("recognize", pictures(files))
                assert [number.decode() for number in answer.as_numpy("number")] == expected

        async def errors() -> None:
            try:
                await client.infer("none", images(report, True))
            except InferenceServerException as error:
                assert "no such model" in error.message()
                return
            raise AssertionError("no error")

        calls = {"health, metadata": metadata()}
        calls |= {name_of(sent, wanted): infer(sent, wanted) for sent, wanted in ENCODINGS}
        calls |= {coding: infer(True, True, coding) for coding in ("gzip", "deflate")}
        calls |= {"classes": classes(), "pictures": numbers(), "errors": errors()}
        outcomes = await asyncio.gather(*calls.values(), return_exceptions=True)
        for call, outcome in zip(calls, outcomes, strict=True):

            def result(outcome: BaseException | None = outcome) -> None:
                if outcome is not None:
                    raise outcome

            report.check(call, result)


if __name__ == "__main__":
    it = Report.from_arguments()
    asyncio.run(call_all(it))
    it.print()
