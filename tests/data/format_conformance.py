"""Writes format_conformance.gz: small PNG, GIF, WebP, BMP and TIFF files of every kind, each with the pixels that Pillow reads from it.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install pillow==13.0.0
    /tmp/golden/bin/python tests/data/format_conformance.py

The modules in format_files/ write most files byte by byte, since Pillow writes few of the kinds. conformance_records.py describes the
output. A name has three parts: format, kind, and variant.

A file has another reference where Pillow is not followed: 16-bit grey keeps the upper byte, while Pillow clips it, and Pillow does not
read all planar TIFF files.
"""
import itertools
from pathlib import Path

from conformance_records import write_records
from format_files.bmp import bmps
from format_files.gif import gifs
from format_files.png import pngs
from format_files.samples import pixels_of
from format_files.tiff import tiffs
from format_files.webp import webps

HERE = Path(__file__).parent


def main():
    files = itertools.chain(pngs(), gifs(), webps(), bmps(), tiffs())
    with_pixels = ((name, file, reference or pixels_of(name, file)) for name, file, reference in files)
    write_records(HERE / "format_conformance.gz", with_pixels)


if __name__ == "__main__":
    main()
