"""Writes image files of every kind, each with its reference pixels, into one compressed file.

The file is compressed with gzip. It is a sequence of records: a line of JSON with name, width, height and lengths, the image file, and
its pixels as RGB. If the pixels are those of the record before, they are left out.
"""
import gzip
import io
import json
from pathlib import Path


def write_records(path: Path, files):
    """Writes triples of a name, an image file, and its width, height and pixels. Files with the same pixels should follow each other."""
    records = io.BytesIO()
    previous = None
    count = 0
    for name, file, (width, height, pixels) in files:
        stored = b"" if pixels == previous else pixels
        previous = pixels
        head = {"name": name, "width": width, "height": height, "file": len(file), "pixels": len(stored)}
        records.write(json.dumps(head).encode() + b"\n" + file + stored)
        count += 1
    path.write_bytes(gzip.compress(records.getvalue(), 9, mtime=0))
    print(f"{count} files, {path.stat().st_size} bytes")
