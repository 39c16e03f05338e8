#!/usr/bin/env python3
"""Installs a wheel of Kiln on a bare Debian, serves an ONNX file, and classifies a photo: what a new user does.

    cargo run --release -p kiln-zoo --example fill -- resnet50 /tmp/resnet50.onnx
    maturin build --release --out /tmp/wheels
    deploy/release/try_wheel.py /tmp/wheels/kiln_serve-*.whl /tmp/resnet50.onnx

debootstrap creates the Debian: its minimal variant and Python's venv, without a compiler and without a package index. The script
prints the time of each step. It fails if the installation and the first response take more than a minute together, or if a response
is wrong. Requires Debian or Ubuntu, and root. DEBIAN_MIRROR names another mirror than debootstrap's default.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PHOTO = ROOT / "tests/data/photos/cat_640x480.jpg"
SUITE = "bookworm"
KEY = "wheel-test-0123456789abcdef"
LIMIT_S = 60
COMPILERS = ["cc", "gcc", "g++", "clang", "rustc", "cargo"]


def bare_debian(folder):
    """Creates a minimal Debian in `folder`, unless it is there."""
    if (folder / "complete").exists():
        return
    if not shutil.which("debootstrap"):
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "debootstrap"], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = ["debootstrap", "--variant=minbase", "--include=python3-venv", SUITE, str(folder)]
    if mirror := os.environ.get("DEBIAN_MIRROR"):
        command.append(mirror)
    with (folder.parent / "debootstrap.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log)
    (folder / "complete").touch()


def inside(folder, *command):
    """The command line that runs a command in the Debian: with its own processes and mounts, which end with it."""
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={folder}/proc"]
    return [*namespaces, "chroot", str(folder), "/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "HOME=/root", *command]


@contextlib.contextmanager
def step(name, times):
    """Measures a step, and prints its time."""
    start = time.monotonic()
    yield
    times[name] = time.monotonic() - start
    print(f"{name}: {times[name]:.1f} s", flush=True)


def request(url, body=None):
    """Returns the status and the body of a response; the status is 0 if there is no connection yet."""
    message = urllib.request.Request(url, data=body, headers={"X-API-Key": KEY})
    try:
        with urllib.request.urlopen(message, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def wait_until_ready(server, address):
    while request(f"{address}/health/ready")[0] != 200:
        if server.poll() is not None:
            sys.exit(f"kiln serve ended with status {server.returncode}")
        time.sleep(0.05)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def classify(address):
    """Sends the photo, and returns the predictions of a valid response."""
    status, body = request(f"{address}/predict/raw?top_k=3", PHOTO.read_bytes())
    if status != 200:
        sys.exit(f"/predict/raw: {status} {body.decode(errors='replace')}")
    predictions = json.loads(body)["predictions"]
    probabilities = [row["probability"] for row in predictions]
    if len(predictions) != 3 or probabilities != sorted(probabilities, reverse=True) or not all(0 <= p <= 1 for p in probabilities):
        sys.exit(f"/predict/raw: not the three best classes: {predictions}")
    return predictions


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    parser.add_argument("--debian", type=pathlib.Path, default=cache / "kiln/bare-debian", help="folder of the Debian, kept for the next run")
    options = parser.parse_args()
    folder = options.debian.resolve()
    bare_debian(folder)
    for compiler in COMPILERS:
        if subprocess.run(inside(folder, "which", compiler), stdout=subprocess.DEVNULL).returncode == 0:
            sys.exit(f"{folder} is not bare: it has {compiler}")

    home = folder / "try"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    for file in (options.wheel, options.model, PHOTO):
        shutil.copy(file, home)
    times = {}
    with step("install", times):
        subprocess.run(inside(folder, "python3", "-m", "venv", "/try/venv"), check=True)
        wheel = f"/try/{options.wheel.name}"
        subprocess.run(inside(folder, "/try/venv/bin/pip", "install", "-q", "--no-index", wheel), check=True)

    kiln = "/try/venv/bin/kiln"
    address = f"127.0.0.1:{free_port()}"
    settings = [f"KILN_API_KEY={KEY}", f"KILN_LISTEN={address}", "KILN_DEVICE=cpu"]
    with step("start with the model", times):
        server = subprocess.Popen(inside(folder, *settings, kiln, "serve", f"/try/{options.model.name}"))
        wait_until_ready(server, f"http://{address}")
    try:
        with step("first response", times):
            predictions = classify(f"http://{address}")
    finally:
        server.kill()
        server.wait()
    for row in predictions:
        print(f"    {row['probability']:.3f} {row['label']}")

    # The model inside the binary has trained weights, so its class can be checked.
    output = subprocess.run(inside(folder, kiln, "predict", "--device", "cpu", "--top-k", "1", f"/try/{PHOTO.name}"), check=True, stdout=subprocess.PIPE).stdout
    if b"cat" not in output.lower():
        sys.exit(f"kiln predict: {output.decode(errors='replace')}")
    total = sum(times.values())
    print(f"in all: {total:.1f} s")
    if total > LIMIT_S:
        sys.exit(f"more than {LIMIT_S} s")
    shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
