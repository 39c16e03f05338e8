"""Writes jpeg_conformance.gz: small JPEG files of every kind, each with the pixels that libjpeg-turbo decodes from it.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install pillow==13.0.0
    /tmp/golden/bin/python tests/data/jpeg_conformance.py

Needs cjpeg and jpegtran (Debian: libjpeg-turbo-progs). The kinds are combinations of sampling, scans, restart intervals, progressive
coding, sizes and colour spaces. Pillow decodes with its own copy of libjpeg-turbo 3: exact IDCT, smooth upsampling, which are the
defaults of libjpeg. conformance_records.py describes the output. Other scans and restart markers do not change pixels.
"""
import itertools
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

import kinds
from conformance_records import write_records
from format_files.samples import pixels_of, saved

HERE = Path(__file__).parent
SIZES = [(64, 48), (51, 37), (23, 66)]
TINY = [(1, 1), (7, 3), (9, 17)]
# Luma and chroma: the factors of all three components, or those of luma alone.
SAMPLINGS = ["1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4", "2x2,1x2,2x1", "1x1,2x2,2x2"]
SCANS = {"one scan": "", "a scan each": "0;1;2;", "luma, chroma": "0;1 2;", "Y and Cb, Cr": "0 1;2;"}
# DC of luma alone, DC of both chroma components, then all AC coefficients in two steps.
PROGRESSION = "0: 0-0, 0, 0;1 2: 0-0, 0, 0;0: 1-63, 0, 1;1: 1-63, 0, 0;2: 1-63, 0, 0;0: 1-63, 1, 0;"
RESTARTS = {"": [], "restart each row": ["-restart", "1"], "restart each 3 blocks": ["-restart", "3B"]}


def main():
    write_records(HERE / "jpeg_conformance.gz", ((name, jpeg, pixels_of(name, jpeg)) for name, jpeg in files()))


def files():
    """Pairs of a name and a JPEG file. Files with the same pixels follow each other."""
    with Image.open(HERE / "photos" / "astronaut_640x480.jpg") as file:
        photo = file.convert("RGB").crop((150, 60, 390, 300))
    for size in SIZES + TINY:
        picture = photo.resize(size, Image.BICUBIC)
        yield from colours(picture, size in TINY)
        yield from greys(picture)
        yield from inks(picture)


def colours(picture, is_tiny):
    for sampling in ["2x2", "2x1"] if is_tiny else SAMPLINGS:
        yield from variants(picture, f"{sampling} YCbCr", ["-sample", sampling], SCANS)
    yield from variants(picture, "RGB", ["-rgb"], SCANS)
    baseline = cjpeg(picture, ["-sample", "2x2"])
    size = f"{picture.width}x{picture.height}"
    yield f"2x2 YCbCr without a marker {size}", baseline[:2] + baseline[20:]
    adobe = bytes([0xFF, kinds.ADOBE_MARKER, 0, 14]) + b"Adobe" + bytes([0, 100, 0, 0, 0, 0, 1])
    yield f"2x2 YCbCr with Adobe's marker {size}", baseline[:2] + adobe + baseline[20:]


def greys(picture):
    yield from variants(picture, "grey", ["-grayscale"], {"one scan": ""})


def variants(picture, kind, options, scripts):
    """The same coefficients with other scans, restart intervals, and as a progressive file."""
    size = f"{picture.width}x{picture.height}"
    for (scans, script), (restart, flags) in itertools.product(scripts.items(), RESTARTS.items()):
        yield f"{kind} {scans} {restart} {size}", cjpeg(picture, options + flags, script)
    for restart, flags in RESTARTS.items():
        yield f"{kind} progressive {restart} {size}", cjpeg(picture, ["-progressive", *options, *flags])
    if len(scripts) > 1:
        yield f"{kind} progressive, DC in two scans {size}", cjpeg(picture, options, PROGRESSION)
    for progressive in [[], ["-progressive"]]:
        name = " ".join(["arithmetic", *progressive])
        yield f"{kind} {name} {size}", cjpeg(picture, ["-arithmetic", *progressive, *options])


def inks(picture):
    """CMYK and YCCK, with and without Adobe's marker."""
    size = f"{picture.width}x{picture.height}"
    separated = kinds.separated(picture)
    for progressive in [False, True]:
        kind = f"{'progressive' if progressive else 'one scan'} {size}"
        cmyk = saved(separated, "JPEG", quality=85, progressive=progressive)
        yield f"CMYK {kind}", cmyk
        yield f"CMYK without a marker {kind}", kinds.with_adobe_segment(cmyk, lambda segment: b"")
        restarts = jpegtran(cmyk, ["-restart", "2B"] + (["-progressive"] if progressive else []))
        yield f"CMYK with restart markers {kind}", restarts
        yield f"YCCK {kind}", kinds.ycck(separated, quality=85, progressive=progressive)


def cjpeg(picture, options, script=""):
    pixels = saved(picture, "PPM")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(script)
        file.flush()
        scans = ["-scans", file.name] if script else []
        return subprocess.run(["cjpeg", "-quality", "85", *options, *scans], input=pixels, stdout=subprocess.PIPE, check=True).stdout


def jpegtran(jpeg, options):
    return subprocess.run(["jpegtran", "-copy", "all", *options], input=jpeg, stdout=subprocess.PIPE, check=True).stdout


if __name__ == "__main__":
    main()
