"""Calls every method of Triton's Python client against a running server, and compares the results with `/predict`.

    python tests/clients/triton/tritonclient_calls.py 127.0.0.1:8080 KEY tests/data

Exits with 0 on success, otherwise with the first failure. `tests/clients/triton/mod.rs` runs it.
"""

import asyncio
import json
import sys
import urllib.request
from pathlib import Path

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

URL, KEY, DATA = sys.argv[1], sys.argv[2], Path(sys.argv[3])
MODEL = "efficientnet-lite0"
PHOTOS = [DATA / f"photos/{name}_640x480.jpg" for name in ("cat", "coffee", "flower")]


def key() -> dict[str, str]:
    """Returns a new dictionary for each call, because the client adds its own headers to it."""
    return {"X-API-Key": KEY}


def predict(photo: Path) -> list[dict]:
    request = urllib.request.Request(f"http://{URL}/predict/raw?top_k=5", photo.read_bytes(), key())
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["predictions"]


def images(module, binary: bool):
    tensor = module.InferInput("input", [len(PHOTOS)], "BYTES")
    tensor.set_data_from_numpy(np.array([photo.read_bytes() for photo in PHOTOS], dtype=np.object_), binary_data=binary)
    return tensor


def tensors(module, count: int, binary: bool, seed: int = 0):
    values = np.random.default_rng(seed).normal(0, 1, (count, 3, 224, 224)).astype(np.float32)
    tensor = module.InferInput("input", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def check_images(logits: np.ndarray) -> None:
    assert logits.shape == (len(PHOTOS), 1000) and logits.dtype == np.float32, (logits.shape, logits.dtype)
    for row, photo in zip(softmax(logits), PHOTOS, strict=True):
        for ours in predict(photo):
            assert abs(row[ours["class_id"]] - ours["probability"]) < 1e-4, (photo, ours)
        assert row.argmax() == predict(photo)[0]["class_id"], photo


def metadata(client) -> None:
    assert client.is_server_live() and client.is_server_ready(headers=key())
    assert client.is_model_ready(MODEL, headers=key()) and client.is_model_ready(MODEL, "1", headers=key())
    assert not client.is_model_ready("no-such-model", headers=key())
    assert "statistics" in client.get_server_metadata(headers=key())["extensions"]
    model = client.get_model_metadata(MODEL, headers=key())
    assert model["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 3, 224, 224]}], model
    assert model == client.get_model_metadata(MODEL, "1", headers=key())
    config = client.get_model_config(MODEL, headers=key())
    assert config["max_batch_size"] == 32 and config["input"][0]["format"] == "FORMAT_NCHW", config
    assert [entry["name"] for entry in client.get_model_repository_index(headers=key())] == [MODEL]


def statistics(client) -> None:
    before = client.get_inference_statistics(MODEL, headers=key())["model_stats"][0]
    client.infer(MODEL, [images(triton, True)], headers=key())
    after = client.get_inference_statistics(MODEL, headers=key())["model_stats"][0]
    assert after["inference_count"] == before["inference_count"] + len(PHOTOS)
    stats = after["inference_stats"]
    assert stats["success"]["count"] == before["inference_stats"]["success"]["count"] + 1
    parts = sum(stats[name]["ns"] for name in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert abs(parts - stats["success"]["ns"]) <= 0.01 * parts, stats
    assert sum(batch["batch_size"] * batch["compute_infer"]["count"] for batch in after["batch_stats"]) >= len(PHOTOS)


def inference(client) -> None:
    for binary in (True, False):
        outputs = [triton.InferRequestedOutput("logits", binary_data=binary)]
        if binary:
            answer = client.infer(MODEL, [images(triton, True)], outputs=outputs, request_id="7", headers=key())
            check_images(answer.as_numpy("logits"))
            assert answer.get_response()["id"] == "7"
        both = [client.infer(MODEL, [tensors(triton, 3, b)], outputs=outputs, headers=key()).as_numpy("logits") for b in (True, False)]
        assert np.abs(both[0] - both[1]).max() < 1e-4 and both[0].shape == (3, 1000)
    check_images(client.infer(MODEL, [images(triton, True)], headers=key()).as_numpy("logits"))
    # More rows than the maximum batch size: the server splits the batch and joins the results in order.
    many = client.infer(MODEL, [tensors(triton, 20, True)], headers=key()).as_numpy("logits")
    assert np.abs(many[:3] - both[0]).max() < 1e-3 and many.shape == (20, 1000)
    for algorithm in ("gzip", "deflate"):
        small = client.infer(
            MODEL, [images(triton, True)], headers=key(), request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        check_images(small.as_numpy("logits"))


def classification(client) -> None:
    outputs = [triton.InferRequestedOutput("logits", class_count=5)]
    rows = client.infer(MODEL, [images(triton, True)], outputs=outputs, headers=key()).as_numpy("logits")
    assert rows.shape == (len(PHOTOS), 5), rows.shape
    for row, photo in zip(rows, PHOTOS, strict=True):
        classes = [element.decode().split(":", 2) for element in row]
        assert [(int(i), label) for _, i, label in classes] == [(p["class_id"], p["label"]) for p in predict(photo)], classes


def preprocessed_by_the_client(client) -> None:
    """Sends the values that the server itself would compute, as FP32 and FP16."""
    golden = DATA / "golden/photos_cat_640x480_jpg.png"
    from PIL import Image

    pixels = np.asarray(Image.open(golden).convert("RGB"), dtype=np.float32)
    values = ((pixels - 127.0) / 128.0).transpose(2, 0, 1)[None]
    for dtype, name in ((np.float32, "FP32"), (np.float16, "FP16")):
        tensor = triton.InferInput("input", [1, 3, 224, 224], name)
        tensor.set_data_from_numpy(np.ascontiguousarray(values.astype(dtype)))
        logits = client.infer(MODEL, [tensor], headers=key()).as_numpy("logits")
        assert logits[0].argmax() in range(281, 286), (name, logits[0].argmax())


def rejections(client) -> None:
    for inputs, part in (
        ([tensors(triton, 33, True)], "the maximum is 32"),
        ([triton.InferInput("other", [1], "BYTES").set_data_from_numpy(np.array([b"x"], dtype=np.object_))], "no input 'other'"),
        ([triton.InferInput("input", [1], "BYTES").set_data_from_numpy(np.array([b"x"], dtype=np.object_))], "first bytes"),
    ):
        try:
            client.infer(MODEL, inputs, headers=key())
        except InferenceServerException as error:
            assert part in error.message() or "png" in error.message().lower(), error
        else:
            sys.exit(f"not rejected: {part}")
    try:
        client.infer(MODEL, [images(triton, True)])
    except InferenceServerException as error:
        assert error.status() == "401", error
    else:
        sys.exit("a request without a key was served")


async def asynchronous() -> None:
    async with triton_aio.InferenceServerClient(URL) as client:
        assert await client.is_server_ready(headers=key())
        calls = [client.infer(MODEL, [images(triton_aio, True)], headers=key()) for _ in range(4)]
        for answer in await asyncio.gather(*calls):
            check_images(answer.as_numpy("logits"))


def main() -> None:
    with triton.InferenceServerClient(URL, concurrency=4, network_timeout=120.0) as client:
        for check in (metadata, inference, classification, preprocessed_by_the_client, statistics, rejections):
            check(client)
            print(f"{check.__name__}: ok")
        # The thread pool of the client.
        pending = [client.async_infer(MODEL, [images(triton, True)], headers=key()) for _ in range(4)]
        for answer in pending:
            check_images(answer.get_result().as_numpy("logits"))
    asyncio.run(asynchronous())
    print("asynchronous: ok")


if __name__ == "__main__":
    main()
