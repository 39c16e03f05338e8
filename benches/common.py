"""What the comparisons with other runtimes share."""

import json
import platform
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def bench_binary(bench: str) -> str:
    """Builds a bench target and returns the path of the program."""
    command = ["cargo", "bench", "--bench", bench, "--no-run", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    targets = (message for message in map(json.loads, lines) if message.get("target", {}).get("kind") == ["bench"])
    (path,) = (message["executable"] for message in targets if message["target"]["name"] == bench)
    return path


class Kiln:
    """A bench target as a process, which answers each line with a line of JSON."""

    name = "Kiln"

    def __init__(self, *command: str):
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, command: str):
        print(command, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, f"Kiln failed at '{command}'"
        return json.loads(line)

    def logits(self, count: int) -> list[list[float]]:
        return self.send(f"logits {count}")

    def run(self, batch: int, seconds: float) -> float:
        return self.send(f"run {batch} {seconds}")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def images_per_second(engine, batch: int, seconds: float) -> float:
    """Calls `engine.logits(batch)` for that time."""
    start, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        engine.logits(batch)
        count += batch
    return count / elapsed


def onnx_runtime_session(model: Path, threads: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    # Idle threads must not occupy a core while Kiln is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def processor() -> str:
    """The processor's name, its threads, and the vector instructions that decide the speed."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(": ", 1)[1] for line in text.splitlines() if line.startswith("model name")]
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    vectors = [name for flag, name in (("avx2", "AVX2"), ("avx512f", "AVX-512"), ("avx512_vnni", "VNNI")) if flag in flags]
    return f"{names[0]}, {len(names)} hardware threads, {', '.join(vectors)}" if names else platform.processor()


def numbers(text: str) -> list[int]:
    """The value of an option such as `1,2`."""
    return [int(number) for number in text.split(",")]
