"""TIFF of every kind of pixels, in strips and tiles, with the usual compressions."""
import itertools
import struct
import zlib

from PIL import ImageCms

import kinds
from .samples import SIZES, indexed, lzw, noise, packed, picture, pixels_of, rows_of, saved, upper_bytes, with_depth

# Kind: photometric interpretation, mode of the picture, depth, meaning of extra samples.
TIFF_KINDS = {
    **{f"grey {depth} bit": (1, "L", depth, None) for depth in [1, 2, 4, 8, 16]},
    **{f"grey {depth} bit, white is zero": (0, "L", depth, None) for depth in [1, 2, 4, 8]},
    "grey and alpha 8 bit": (1, "LA", 8, 2),
    "RGB 8 bit": (2, "RGB", 8, None),
    "RGB 16 bit": (2, "RGB", 16, None),
    "RGBA 8 bit": (2, "RGBA", 8, 2),
    "RGBA 16 bit": (2, "RGBA", 16, 2),
    "RGB 8 bit and another sample": (2, "RGBA", 8, 0),
    "RGB 16 bit and another sample": (2, "RGBA", 16, 0),
    "RGBA 8 bit, premultiplied": (2, "RGBA", 8, 1),
    "RGBA 16 bit, premultiplied": (2, "RGBA", 16, 1),
    **{f"palette {depth} bit": (3, "P", depth, None) for depth in [1, 2, 4, 8]},
    "CMYK 8 bit": (5, "CMYK", 8, None),
    "CMYK 16 bit": (5, "CMYK", 16, None),
}
LAYOUTS = {"one strip": {"strip": None}, "strips": {"strip": 5}, "tiles": {"tile": (16, 16)}, "large tiles": {"tile": (48, 32)}}
COMPRESSIONS = {"none": 1, "LZW": 5, "deflate": 8, "old deflate": 32946, "PackBits": 32773}


def tiffs():
    for kind, (photometric, mode, depth, extra) in TIFF_KINDS.items():
        for size in SIZES:
            if mode == "P":
                rows, palette = indexed(size, min(1 << depth, 200))
            else:
                rows, palette = with_depth(rows_of(picture(size, mode)), depth), None
            if extra == 1:
                rows = [[premultiplied(pixel, (1 << depth) - 1) for pixel in row] for row in rows]
            yield from tiff_variants(kind, rows, palette, photometric, depth, extra)
    yield from unusual_tiffs()


def premultiplied(pixel, max):
    *colours, alpha = pixel
    return (*(colour * alpha // max for colour in colours), alpha)


def tiff_variants(kind, rows, palette, photometric, depth, extra):
    is_tiny = (len(rows[0]), len(rows)) != SIZES[0]
    reference = upper_bytes(rows) if depth == 16 and photometric < 2 else None
    end = f"{len(rows[0])}x{len(rows)}"
    channels = len(rows[0][0])
    for (layout, places), compression, order, planar, predictor in itertools.product(LAYOUTS.items(), COMPRESSIONS, "<>", [1, 2], [1, 2]):
        is_usual = (layout, order) in [("strips", "<"), ("tiles", ">")]
        is_other = compression == "none" and (layout, order) in [("one strip", ">"), ("large tiles", "<")]
        if is_tiny:
            is_usual, is_other = is_usual and compression == "LZW", is_other and layout == "one strip"
        if predictor == 2 and (depth < 8 or compression not in ["LZW", "deflate"]):
            continue
        if planar == 2 and (channels == 1 or is_tiny or is_other or compression not in ["none", "LZW"]):
            continue
        if compression == "old deflate" and kind != "grey 8 bit":
            continue
        if not (is_usual or is_other):
            continue
        options = {"extra": extra, "palette": palette, "compression": compression, "order": order, "predictor": predictor, **places}
        file = tiff(rows, photometric, depth, planar=planar, **options)
        expected = reference
        if planar == 2 and not expected:
            # Pillow does not read all of these.
            expected = pixels_of(kind, tiff(rows, photometric, depth, **options))
        variant = f"{layout}, {compression}{', predictor' * (predictor == 2)}, {'little' if order == '<' else 'big'} endian {end}"
        yield f"TIFF/{kind}{', planar' * (planar == 2)}/{variant}", file, expected


def unusual_tiffs():
    size = SIZES[0]
    rgb, grey = rows_of(picture(size)), rows_of(picture(size, "L"))
    for orientation, order in itertools.product(range(10), "<>"):
        file = tiff(rgb, 2, 8, order=order, tags={kinds.ORIENTATION_TAG: (3, [orientation])})
        yield f"TIFF/orientation/{orientation} {'little' if order == '<' else 'big'} endian", file, None
    yield "TIFF/BigTIFF/33x17", saved(picture(size), "TIFF", big_tiff=True), None
    yield "TIFF/several pages/33x17", saved(picture(size), "TIFF", save_all=True, append_images=[picture((5, 5))]), None
    for compression, mode in itertools.product(["tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"], ["RGB", "L"]):
        yield f"TIFF/written by Pillow, {compression}/{mode}", saved(picture(size, mode), "TIFF", compression=compression), None
    for compression, (width, height) in itertools.product(["group3", "group4", "tiff_ccitt"], SIZES):
        yield f"TIFF/{compression}/{width}x{height}", saved(picture((width, height), "1"), "TIFF", compression=compression), None
    for mode in ["L", "RGB"]:
        yield f"TIFF/JPEG, {mode}/33x17", saved(picture(size, mode), "TIFF", compression="jpeg"), None
    yield "TIFF/YCbCr/33x17", saved(picture(size).convert("YCbCr"), "TIFF"), None
    yield "TIFF/LAB/33x17", saved(lab(picture(size)), "TIFF"), None
    yield "TIFF/fill order/33x17", tiff(with_depth(grey, 1), 1, 1, tags={266: (3, [2])}), None
    yield "TIFF/RGBA without its meaning/33x17", tiff(rows_of(picture(size, "RGBA")), 2, 8), None
    for mode, photometric, extra in [("RGB", 2, [0, 0]), ("RGBA", 2, [2, 0]), ("CMYK", 5, [0])]:
        rows = [[(*pixel, 7, 9)[: len(pixel) + extra.count(0)] for pixel in row] for row in rows_of(picture(size, mode))]
        yield f"TIFF/{mode} and {extra.count(0)} other samples/33x17", tiff(rows, photometric, 8, extra=extra), None
    rows, palette = indexed(size, 100)
    with_alpha = [[(pixel[0], 200) for pixel in row] for row in rows]
    yield "TIFF/palette and alpha/33x17", tiff(with_alpha, 3, 8, extra=2, palette=palette), None
    yield "TIFF/signed grey/33x17", tiff(grey, 1, 8, tags={339: (3, [2])}), None
    rows = noise((97, 89), 256)
    yield "TIFF/all LZW codes/97x89", tiff(rows, 1, 8, compression="LZW"), None
    yield "TIFF/grey 8 bit/no rows per strip", tiff(grey, 1, 8, without=[278]), None
    yield "TIFF/grey 8 bit/no photometric interpretation", tiff(grey, 0, 8, without=[262]), None
    yield "TIFF/grey 8 bit/no counts of bytes", tiff(grey, 1, 8, without=[279]), None
    yield "TIFF/grey 1 bit/no depth", tiff(with_depth(grey, 1), 1, 1, without=[258, 277]), None
    yield "TIFF/RGB 8 bit/one depth for all samples", tiff(rgb, 2, 8, tags={258: (3, [8])}), None
    yield "TIFF/RGB 8 bit/profile", tiff(rgb, 2, 8, tags={34675: (7, list(range(128)))}), None


def lab(image):
    profiles = [ImageCms.createProfile(space) for space in ["sRGB", "LAB"]]
    converted = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    # The profile has the time of its creation.
    converted.info.clear()
    return converted


def tiff(
    rows, photometric, depth, order="<", compression="none", predictor=1, planar=1,
    strip=None, tile=None, extra=None, palette=None, tags=(), without=(),
):  # fmt: skip
    """A TIFF of strips of `strip` rows, or of tiles."""
    width, height, channels = len(rows[0]), len(rows), len(rows[0][0])
    layers = [[[(pixel[channel],) for pixel in row] for row in rows] for channel in range(channels)] if planar == 2 else [rows]
    places = tile_places(width, height, tile or (width, strip or height))
    parts = [tiff_part(layer, place, tile, depth, order, compression, predictor) for layer in layers for place in places]
    extra = [extra] if isinstance(extra, int) else extra
    start = list(itertools.accumulate([len(part) + len(part) % 2 for part in parts], initial=8))
    entries = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [depth] * channels),
        259: (3, [COMPRESSIONS[compression]]),
        262: (3, [photometric]),
        277: (3, [channels]),
        284: (3, [planar]),
        317: (3, [predictor]),
    }
    if tile:
        entries |= {322: (4, [tile[0]]), 323: (4, [tile[1]]), 324: (4, start[:-1]), 325: (4, [len(part) for part in parts])}
    else:
        entries |= {273: (4, start[:-1]), 278: (4, [strip or height]), 279: (4, [len(part) for part in parts])}
    if extra:
        entries[338] = (3, extra)
    if palette:
        colours = [*palette, *[[0] * 3] * ((1 << depth) - len(palette))]
        entries[320] = (3, [colour[band] * 257 for band in range(3) for colour in colours])
    entries |= dict(tags)
    entries = {tag: entry for tag, entry in sorted(entries.items()) if tag not in without}
    body = b"".join(part + bytes(len(part) % 2) for part in parts)
    return tiff_file(body, entries, order)


def tile_places(width, height, size):
    return [(left, top, *size) for top in range(0, height, size[1]) for left in range(0, width, size[0])]


def tiff_part(rows, place, tile, depth, order, compression, predictor):
    """The bytes of a strip or a tile. Tiles are filled up to their size."""
    left, top, width, height = place
    part = [row[left : left + width] for row in rows[top : top + height]]
    if tile:
        part = [row + [row[-1]] * (width - len(row)) for row in part]
        part += [part[-1]] * (height - len(part))
    if predictor == 2:
        part = [differences(row, 1 << depth) for row in part]
    lines = [packed(row, depth, order) for row in part]
    data = b"".join(lines)
    match compression:
        case "LZW":
            return lzw(list(data), 8, is_tiff=True)
        case "deflate" | "old deflate":
            return zlib.compress(data)
        case "PackBits":
            return b"".join(map(pack_bits, lines))
    return data


def differences(row, modulus):
    """Each sample minus that of the pixel before."""
    previous = [tuple([0] * len(row[0])), *row]
    return [tuple((a - b) % modulus for a, b in zip(pixel, before)) for pixel, before in zip(row, previous)]


def pack_bits(line):
    """Runs, and single bytes one by one."""
    output = b""
    for value, run in itertools.groupby(line):
        count = len(list(run))
        for length in [128] * (count // 128) + [count % 128] * (count % 128 > 0):
            output += bytes([(257 - length) % 256, value]) if length > 1 else bytes([0, value])
    return output


def tiff_file(body, entries, order):
    """The file header, the pixels, the values that do not fit into the directory, and the directory."""
    formats = {3: "H", 4: "I", 7: "B"}
    directory = b""
    for tag, (kind, values) in entries.items():
        data = struct.pack(f"{order}{len(values)}{formats[kind]}", *values)
        if len(data) > 4:
            position = 8 + len(body)
            body += data + bytes(len(data) % 2)
            data = struct.pack(f"{order}I", position)
        directory += struct.pack(f"{order}HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body))
    return head + body + struct.pack(f"{order}H", len(entries)) + directory + bytes(4)
