"""Compares Kiln's CPU engine with other runtimes on every network of crates/zoo, and writes docs/speed.md and benches/zoo/speed.svg.

    python -m venv /tmp/compare && /tmp/compare/bin/pip install -r benches/zoo/requirements.txt
    /tmp/compare/bin/python benches/zoo/compare.py                       # all networks, about 40 minutes
    /tmp/compare/bin/python benches/zoo/compare.py --only resnet50,vit   # those whose names begin so; writes no file

Each round measures one engine after the other, so that other load on the machine affects all. A ratio is the median of the ratios
of all rounds. The logits are compared first, within 1e-3 of the largest. All engines get the same prepared float32 tensors. A file
with a fixed batch of one runs image by image in the other runtimes.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

try:
    import openvino
except ImportError:
    openvino = None

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import ROOT, Kiln, bench_binary, images_per_second, numbers, onnx_runtime_session, processor  # noqa: E402

PAGE, CHART = ROOT / "docs/speed.md", ROOT / "benches/zoo/speed.svg"
TOLERANCE = 1e-3
BATCHES = [1, 8]
# Networks whose logits are rounded differently by design: see crates/zoo/src/answers.rs.
LOW_PRECISION, LOW_PRECISION_TOLERANCE = ("fp16", "int8"), 3e-2


def networks() -> list[str]:
    """Names of the whole classifiers of the zoo. Those of a single layer (act_, lay_) take too little time to be measured."""
    names = sorted(path.stem for path in (ROOT / "crates/zoo/skeletons").glob("*.onnx"))
    return [name for name in names if not name.startswith(("act_", "lay_"))]


class Other:
    """A runtime in this process: `infer` returns the logits of a batch."""

    def __init__(self, network: dict, folder: Path):
        self.network = network
        values = np.fromfile(folder / "input.f32", np.float32)
        self.rows = np.ascontiguousarray(values.reshape(-1, *network["shape"]).astype(network["dtype"]))
        self.is_single = network["fixed_batch"] == 1

    def logits(self, count: int) -> np.ndarray:
        if self.is_single:
            return np.concatenate([self.infer(self.rows[row : row + 1]) for row in range(count)])
        return self.infer(self.rows[:count])

    def run(self, batch: int, seconds: float) -> float:
        return images_per_second(self, batch, seconds)

    def close(self) -> None:
        """Ends the threads of the runtime."""


class OnnxRuntime(Other):
    name = "ONNX Runtime"

    def __init__(self, network: dict, folder: Path, threads: int):
        super().__init__(network, folder)
        self.session = onnx_runtime_session(folder / "model.onnx", threads)

    def infer(self, rows: np.ndarray) -> np.ndarray:
        return self.session.run([self.network["output"]], {self.network["input"]: rows})[0]


class OpenVino(Other):
    name = "OpenVINO"

    def __init__(self, network: dict, folder: Path, threads: int):
        super().__init__(network, folder)
        core = openvino.Core()
        hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(folder / "model.onnx", "CPU", hints)
        self.output = compiled.output(network["output"])
        self.request = compiled.create_infer_request()

    def infer(self, rows: np.ndarray) -> np.ndarray:
        return self.request.infer({self.network["input"]: rows}, share_inputs=True)[self.output].copy()


def finish(logits: np.ndarray, removed: str | None) -> np.ndarray:
    """Applies the operator that Kiln takes off the end of a file."""
    if removed == "Sigmoid":
        return 1 / (1 + np.exp(-logits))
    if removed in ("Softmax", "LogSoftmax"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return np.exp(logarithms) if removed == "Softmax" else logarithms
    return logits


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, as a part of the largest value."""
    theirs = theirs.astype(np.float32).reshape(len(ours), -1)
    return float(np.abs(ours[:, : theirs.shape[1]] - theirs).max() / np.abs(theirs).max())


def is_low_precision(name: str, network: dict) -> bool:
    return network["dtype"] == "float16" or any(part in name for part in LOW_PRECISION)


def tolerance(name: str, network: dict) -> float:
    """The accepted difference. A network that amplifies rounding has a wider one."""
    return max(LOW_PRECISION_TOLERANCE if is_low_precision(name, network) else TOLERANCE, 3 * network["spread"])


def measure(kiln: Kiln, other: Other, rounds: int, seconds: float) -> list[tuple[float, float, float]]:
    """For each batch size: images per second of Kiln and of the other, and the median ratio."""
    results = []
    for batch in BATCHES:
        kiln.run(batch, seconds / 2), other.run(batch, seconds / 2)
        pairs = []
        for number in range(rounds):
            order = (kiln, other) if number % 2 else (other, kiln)
            rates = {engine.name: engine.run(batch, seconds) for engine in order}
            pairs.append((rates["Kiln"], rates[other.name]))
        ours, theirs = (statistics.median(side) for side in zip(*pairs))
        results.append((ours, theirs, statistics.median(ours / theirs for ours, theirs in pairs)))
    return results


def write(rows: list, others: list, threads: list[int], arguments: argparse.Namespace) -> None:
    """Writes the page and the chart."""
    columns = [(count, batch) for count in threads for batch in BATCHES]
    titles = [f"{count} thread{'s' if count > 1 else ''}, batch {batch}" for count, batch in columns]
    page = [
        "# Speed of 55 networks on the CPU",
        "",
        "Written by `benches/zoo/compare.py`, which measures Kiln and other runtimes in turns on the same file and input, after it has",
        "compared their logits. Each cell is Kiln's images per second, and in parentheses the ratio to the other runtime: the median of",
        f"{arguments.rounds} rounds of {arguments.seconds} s. Above 1, Kiln is faster.",
        "",
        f"Machine: {processor()}.",
    ]
    for other in others:
        version = (onnxruntime if other is OnnxRuntime else openvino).__version__.split("-")[0]
        page += ["", f"## {other.name} {version}", "", f"| network | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}"]
        mine = [(name, cells[other.name]) for name, cells in rows if other.name in cells]
        for name, cells in mine:
            page.append(f"| {name} | {' | '.join(f'{ours:.1f} ({ratio:.2f})' for ours, _, ratio in cells)} |")
        means = [statistics.geometric_mean(cells[column][2] for _, cells in mine) for column in range(len(titles))]
        page.append(f"| geometric mean | {' | '.join(f'{mean:.2f}' for mean in means)} |")
        every = [ratio for _, cells in mine for _, _, ratio in cells]
        below = sorted((ratio, name, title) for name, cells in mine for (_, _, ratio), title in zip(cells, titles) if ratio < 0.95)
        page += ["", f"Of all cells: geometric mean {statistics.geometric_mean(every):.2f}, smallest {min(every):.2f}; {len(below)} of {len(every)} are below 0.95."]
    PAGE.write_text("\n".join(page) + "\n", encoding="utf-8")
    draw(rows, titles)


def draw(rows: list, titles: list[str]) -> None:
    """Draws the ratios to ONNX Runtime as bars, one panel for each column of the table."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "kiln"
    import matplotlib.pyplot as plt

    shown = [(name, cells) for name, cells in rows if OnnxRuntime.name in cells]
    figure, panels = plt.subplots(1, len(titles), figsize=(3 * len(titles), 0.19 * len(shown) + 1), sharey=True)
    names = [name for name, _ in shown][::-1]
    for column, (title, axes) in enumerate(zip(titles, panels)):
        ratios = [cells[OnnxRuntime.name][column][2] for _, cells in shown][::-1]
        axes.barh(names, ratios, color=["#d9480f" if ratio >= 1 else "#868e96" for ratio in ratios])
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_title(title, fontsize=10)
        axes.tick_params(labelsize=7)
        axes.set_xlabel("images/s of Kiln / ONNX Runtime", fontsize=8)
        axes.margins(y=0.005)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(CHART, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=numbers, default=[1, 2], metavar="N,..", help="default: 1,2")
    parser.add_argument("--only", type=lambda text: tuple(text.split(",")), metavar="NAME,..", help="networks whose names begin so; writes no file")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.4, help="duration of one measurement; default: %(default)s")
    arguments = parser.parse_args()
    others = [OnnxRuntime] + ([OpenVino] if openvino else [])
    selected = [name for name in networks() if not arguments.only or name.startswith(arguments.only)]
    binary = bench_binary("zoo")
    print(f"machine: {processor()}; ONNX Runtime {onnxruntime.__version__}, OpenVINO {openvino.__version__ if openvino else 'not installed'}")
    print(f"ratios at {', '.join(f'{count} threads batch {batch}' for count in arguments.threads for batch in BATCHES)}")
    rows, failed = [], []
    for name in selected:
        cells = {other.name: [] for other in others}
        for threads in arguments.threads:
            kiln = Kiln(binary, "serve", str(threads))
            with tempfile.TemporaryDirectory() as folder:
                network = kiln.send(f"open {name} {folder}")
                ours = finish(np.array(kiln.logits(2), np.float32), network["removed"])
                for make in others:
                    try:
                        other = make(network, Path(folder), threads)
                        apart = difference(ours, other.logits(2))
                    except Exception as error:  # the other runtime's own limits
                        if make is OnnxRuntime:
                            raise
                        cells.pop(make.name, None)
                        print(f"  {name}: {make.name} does not run it: {str(error).splitlines()[0]}", flush=True)
                        continue
                    if not apart <= tolerance(name, network):
                        reason = f"{name}: the logits of {make.name} differ by {apart:.1e}"
                        # A runtime may compute quantised files in 8 bits, where Kiln computes in f32.
                        (print if is_low_precision(name, network) else failed.append)(reason)
                        cells.pop(make.name, None)
                    if make.name in cells:
                        cells[make.name] += measure(kiln, other, arguments.rounds, arguments.seconds)
                    other.close()
            kiln.close()
        if cells:
            rows.append((name, cells))
        for other in others:
            if other.name in cells:
                ratios = "  ".join(f"{ratio:5.2f}" for _, _, ratio in cells[other.name])
                print(f"{name:28} {other.name:13} {ratios}", flush=True)
    for other in others:
        every = [cell[2] for _, cells in rows for cell in cells.get(other.name, [])]
        print(f"{other.name}: geometric mean {statistics.geometric_mean(every):.3f}, smallest {min(every):.2f}, {sum(r < 0.95 for r in every)} of {len(every)} below 0.95")
    if failed:
        raise SystemExit("\n".join(failed))
    if not arguments.only:
        write(rows, others, arguments.threads, arguments)


if __name__ == "__main__":
    main()
