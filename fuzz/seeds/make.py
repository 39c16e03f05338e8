"""Writes the seeds of the fuzz targets, small files of every kind, beside this script. Requires Pillow.

`python3 fuzz/seeds/make.py` from the top level. The images have few pixels, so that many are tried per second.
"""

import gzip
import io
import json
import struct
import zlib
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
ORIENTATION_TAG = 0x0112


def main():
    for target, seeds in {"decode": images(), "multipart": forms(), "oip": requests()}.items():
        folder = HERE / target
        folder.mkdir(exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def images():
    wheel = Image.radial_gradient("L").resize((23, 17))
    colours = Image.merge("RGB", [wheel, wheel.transpose(Image.FLIP_LEFT_RIGHT), wheel.rotate(90)])
    clear = colours.copy()
    clear.putalpha(wheel)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    frames = {"save_all": True, "append_images": [colours.rotate(180)], "duration": 10}
    seeds = {
        "grey.jpg": saved(wheel, "JPEG", quality=60),
        "colours.jpg": saved(colours, "JPEG", quality=60, exif=exif),
        "progressive.jpg": saved(colours, "JPEG", quality=60, progressive=True),
        "restart.jpg": saved(colours, "JPEG", quality=60, restart_marker_blocks=1, subsampling=1),
        "inks.jpg": saved(colours.convert("CMYK"), "JPEG", quality=60),
        "grey.png": saved(wheel, "PNG"),
        "colours.png": saved(colours, "PNG", exif=exif),
        "clear.png": saved(clear, "PNG"),
        "palette.png": saved(colours.quantize(15), "PNG", bits=4),
        "one_bit.png": saved(wheel.convert("1"), "PNG"),
        "wide.png": saved(wheel.convert("I;16"), "PNG"),
        "colours.gif": saved(colours, "GIF"),
        "animated.gif": saved(colours, "GIF", transparency=3, **frames),
        "lossy.webp": saved(colours, "WEBP", quality=50),
        "lossless.webp": saved(colours, "WEBP", lossless=True),
        "clear.webp": saved(clear, "WEBP", quality=50, exif=exif),
        "animated.webp": saved(colours, "WEBP", quality=50, **frames),
        "colours.bmp": saved(colours.resize((9, 7)), "BMP"),
        "palette.bmp": saved(wheel.resize((9, 7)).quantize(4), "BMP"),
        "one_bit.bmp": saved(wheel.convert("1"), "BMP"),
        "plain.tiff": saved(colours.resize((9, 7)), "TIFF", exif=exif),
    }
    for method in ["tiff_lzw", "tiff_adobe_deflate", "packbits", "group4", "jpeg"]:
        image = wheel.convert("1") if method == "group4" else colours
        seeds[f"{method}.tiff"] = saved(image, "TIFF", compression=method)
    return seeds


def forms():
    """The first byte: bit 0 declares a length, bit 1 allows several images, the other bits select the size of the pieces."""

    def part(disposition, content, end=b"\r\n"):
        return b"--X\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + content + end

    cat = part(b'name="file"; filename="cat.jpg"\r\nContent-Type: image/jpeg', b"\xff\xd8\xff\xe0")
    bare = part(b'name="file"', b"\r\n--\r\n--Y")
    files = part(b'name="files"; filename="a.png"', b"one") + part(b"name=files; filename=\"C:\\\\b.gif\"", b"")
    encoded = part("name=\"file\"; filename*=UTF-8''%e2%82%ac.png".encode(), b"1")
    other = part(b'name="note"', b"hello") + cat
    end = b"--X--\r\n"
    return {
        "one": b"\0\n" + cat + end,
        "one_with_length": b"\1\n" + cat + end,
        "byte_by_byte": b"\4\n" + bare + end,
        "several": b"\2\n" + files + end,
        "several_in_pieces": b"\x0e\n" + files + end,
        "encoded_name": b"\x10\n" + encoded + end,
        "another_field": b"\x14\n" + other + end,
        "twice": b"\0\n" + cat + cat + end,
        "too_large": b"\x18\n" + part(b'name="file"', b"7" * 5000) + end,
        "no_end": b"\x0a\n" + files,
        "quoted_boundary": b'\0multipart/form-data; charset=utf-8; boundary="a b"\n' + cat.replace(b"--X", b"--a b") + b"--a b--",
        "no_boundary": b"\0multipart/form-data\n" + cat + end,
        "no_form": b"\0application/json\n{}",
    }


def requests():
    """The first byte: 0 sends no header length, 1 a huge one, 2 that of the next two bytes; 4 requests a binary response."""

    def plain(choice, head, encoding=b"", pack=lambda body: body):
        return bytes([choice, 0, 0]) + encoding + b"\n" + pack(json.dumps(head).encode())

    def with_tensor(datatype, shape, tensor, encoding=b"", pack=lambda body: body):
        given = {"name": "input", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(tensor)}}
        head = json.dumps({"id": "7", "inputs": [given]}).encode()
        return b"\6" + struct.pack("<H", len(head)) + encoding + b"\n" + pack(head + tensor)

    def numbers(**more):
        return {"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [[1, -2.5e0]]}], **more}

    wanted = {"name": "logits", "parameters": {"binary_data": False, "classification": 3}}
    parameters = {"binary_data_output": True, "priority": 1, "timeout": 1000}
    elements = struct.pack("<I3sI", 3, b"abc", 0)
    return {
        "numbers": plain(0, numbers()),
        "everything": plain(4, numbers(id="a", parameters=parameters, outputs=[wanted], more=None)),
        "gzip": plain(0, numbers(), b"gzip", gzip.compress),
        "deflate": plain(4, numbers(), b"deflate", zlib.compress),
        "accepted": plain(0, numbers(), b"identity;q=0, gzip;q=0.5"),
        "memory": plain(0, {"inputs": [{"name": "input", "parameters": {"shared_memory_region": "a"}}]}),
        "huge_length": plain(1, numbers()),
        "single": with_tensor("FP32", [2, 1], struct.pack("<2f", 1, float("nan"))),
        "half": with_tensor("FP16", [3], struct.pack("<3e", 1, -2, float("inf"))),
        "elements": with_tensor("BYTES", [2], elements),
        "elements_gzip": with_tensor("BYTES", [2], elements, b"gzip", gzip.compress),
        "many": with_tensor("FP32", [500], bytes(2000), b"gzip", gzip.compress),
        "one_image": b"\2\0\0\n\xff\xd8\xff\xe0",
    }


main()
