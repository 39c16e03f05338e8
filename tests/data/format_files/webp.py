"""WebP, lossy and lossless, with and without alpha, and animations."""
import itertools
import struct

from PIL import Image

import kinds
from .samples import SIZES, picture, saved


def webps():
    for size in [(64, 48), *SIZES]:
        end = f"{size[0]}x{size[1]}"
        for mode, (quality, method) in itertools.product(["RGB", "RGBA"], [(5, 6), (60, 0), (95, 4)]):
            file = webp(picture(size, mode), quality=quality, method=method)
            yield f"WebP/lossy/{mode} quality {quality}, method {method}, {end}", file, None
        yield f"WebP/lossy/alpha of few levels {end}", webp(picture(size, "RGBA"), quality=60, alpha_quality=10), None
        for mode, method in [("RGB", 0), ("RGBA", 6), ("L", 4)]:
            yield f"WebP/lossless/{mode} method {method}, {end}", webp(picture(size, mode), lossless=True, exact=True, method=method), None
        for colours in [2, 4, 16, 100]:
            image = picture(size).quantize(colours, Image.Quantize.MEDIANCUT).convert("RGB")
            yield f"WebP/lossless/{colours} colours {end}", webp(image, lossless=True), None
    image = picture(SIZES[0], "RGBA")
    for orientation, lossless in itertools.product(range(10), [False, True]):
        file = webp(image, lossless=lossless, exact=True, exif=kinds.EXIF_HEAD + kinds.tiff_block(orientation))
        yield f"WebP/{'lossless' if lossless else 'lossy'}/orientation {orientation}", file, None
    for name, chunk in {"ICC profile": {"icc_profile": bytes(128)}, "XMP": {"xmp": b"<x/>"}}.items():
        yield f"WebP/lossless/{name}", webp(image, lossless=True, exact=True, **chunk), None
    yield from animated_webps()


def animated_webps():
    """The first frame covers the canvas, or a part of it."""
    places = [((20, 10), (0, 0)), ((33, 17), (0, 0)), ((33, 17), (6, 4))]
    for mode, kind, (canvas, position) in itertools.product(["RGB", "RGBA"], ["lossless", "lossy"], places):
        chunks = webp_chunks(webp(picture((20, 10), mode), lossless=kind == "lossless", exact=True))
        for background, blend, disposal in [(0, 0, 0), (0xFF336699, 0, 1), (0xFF336699, 1, 0)]:
            variant = f"{mode}, canvas {canvas}, at {position}, background {background:x}, blend {blend}, disposal {disposal}"
            file = webp_animation(chunks, canvas, position, background, blend, disposal)
            yield f"WebP/{kind} animation/{variant}", file, None


def webp(image, **options):
    return saved(image, "WEBP", **options)


def webp_chunks(file):
    """The chunks of a frame: alpha and pixels."""
    chunks, at = b"", 12
    while at < len(file):
        length = 8 + (struct.unpack_from("<I", file, at + 4)[0] + 1) // 2 * 2
        if file[at : at + 4] in [b"ALPH", b"VP8 ", b"VP8L"]:
            chunks += file[at : at + length]
        at += length
    return chunks


def webp_animation(chunks, canvas, position, background, blend, disposal):
    """An animation of two equal frames, the second one at the upper left. `blend` is 1 for a frame that is not blended."""
    def size(number):
        return struct.pack("<I", number)[:3]

    def frame(left, top):
        head = size(left // 2) + size(top // 2) + size(19) + size(9) + size(100) + bytes([blend << 1 | disposal])
        return b"ANMF" + struct.pack("<I", len(head + chunks)) + head + chunks

    extended = b"VP8X" + struct.pack("<II", 10, 0x12) + size(canvas[0] - 1) + size(canvas[1] - 1)
    body = b"WEBP" + extended + b"ANIM" + struct.pack("<IIH", 6, background, 0) + frame(*position) + frame(0, 0)
    return b"RIFF" + struct.pack("<I", len(body)) + body
