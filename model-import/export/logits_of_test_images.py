"""Writes ONNX Runtime's logits for the preprocessed images in tests/data/golden, or checks the committed ones.

    python logits_of_test_images.py            # writes tests/data/logits/<model>.json and the model's reference logits
    python logits_of_test_images.py --check    # computes them again and compares; exit 1 if they differ

The images are already decoded, cropped and resized, so a test with these logits covers only the network and its
normalisation.
"""

import argparse
import hashlib
import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime

import compare_models
import images

MODELS = Path(__file__).resolve().parents[1] / "models"
LOGITS = images.TEST_DATA / "logits"

# Other processors, and other versions of ONNX Runtime, add in a different order.
TOLERANCE = compare_models.LOGITS_TOLERANCE


def run(model: bytes) -> dict:
    """The content of the JSON file: one row for each image."""
    session = images.session(model)
    return {
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "rows": [
            {
                "picture": name,
                "pixels_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
                "logits": images.logits(session, pixels),
            }
            for name, pixels in images.all_rows()
        ],
    }


def dumps(content: dict) -> str:
    """JSON with one line for each row, and for each float32 the shortest text that parses to the same float32."""
    rows = []
    for row in content["rows"]:
        head = json.dumps({key: value for key, value in row.items() if key != "logits"})
        rows.append(f'{head[:-1]}, "logits": [{",".join(str(value) for value in row["logits"])}]}}')
    head = json.dumps({key: value for key, value in content.items() if key != "rows"})
    return head[:-1] + ', "rows": [\n' + ",\n".join(rows) + "\n]}\n"


def check(content: dict, committed: dict) -> int:
    """Returns 0 if the committed rows are for the same model and images and within the tolerance, else 1."""
    ours, theirs = ({row["picture"]: row for row in each["rows"]} for each in (content, committed))
    problems = []
    if content["model_sha256"] != committed["model_sha256"]:
        problems.append("the committed logits are of another model")
    if ours.keys() != theirs.keys():
        problems.append(f"images in one file only: {sorted(ours.keys() ^ theirs.keys())}")
    differences = [0.0]
    for name in ours.keys() & theirs.keys():
        if ours[name]["pixels_sha256"] != theirs[name]["pixels_sha256"]:
            problems.append(f"{name} has other pixels than the image of the committed logits")
        differences.append(compare_models.difference(ours[name]["logits"], np.array(theirs[name]["logits"], np.float32))[1])
    worst = np.max(differences)
    if not worst <= TOLERANCE:  # NaN counts as a difference
        problems.append("the logits differ")
    print(f"{committed['runtime']} then, {content['runtime']} now: the largest difference is {worst:.2g} of its row's largest")
    print("\n".join(problems) or f"{len(ours)} rows agree (tolerance {TOLERANCE:.0e})")
    return 1 if problems else 0


def print_top5(content: dict, labels: list[str]) -> None:
    """Prints one line for each image: its five most likely classes, with id, label and probability."""
    for row in content["rows"]:
        logits = row["logits"].astype(np.float64)
        p = np.exp(logits - logits.max())
        p /= p.sum()
        top = np.argsort(-p, kind="stable")[:5]
        print(row["picture"] + ": " + ", ".join(f"{i} {labels[i]} {p[i]:.4f}" for i in top))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="efficientnet-lite0", help="name of a folder in model-import/models")
    parser.add_argument("--check", action="store_true", help="compare with the committed file instead of writing it")
    arguments = parser.parse_args()
    folder = MODELS / arguments.model
    manifest = tomllib.loads((folder / "model.toml").read_text())
    content = run((folder / manifest["onnx"]).read_bytes())
    path = LOGITS / f"{arguments.model}.json"
    if arguments.check:
        return check(content, json.loads(path.read_text()))
    if len(content["rows"]) == 1:
        print(f"no PNG files in {images.GOLDEN}: only the synthetic image", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dumps(content))
    synthetic = next(row for row in content["rows"] if row["picture"].startswith("synthetic:"))
    (folder / manifest["reference_logits"]).write_text("".join(f"{value}\n" for value in synthetic["logits"]))
    print_top5(content, (folder / manifest["labels"]).read_text().splitlines())
    return 0


if __name__ == "__main__":
    sys.exit(main())
