"""PNG of every colour type and depth, with and without interlacing, with chunks that do not change pixels, and APNG."""
import itertools
import struct
import zlib

import kinds
from .samples import SIZES, indexed, packed, picture, rows_of, upper_bytes, with_depth

COLOUR_TYPES = {"grey": (0, "L"), "RGB": (2, "RGB"), "palette": (3, "P"), "grey and alpha": (4, "LA"), "RGBA": (6, "RGBA")}
DEPTHS = {"grey": (1, 2, 4, 8, 16), "RGB": (8, 16), "palette": (1, 2, 4, 8), "grey and alpha": (8, 16), "RGBA": (8, 16)}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def pngs():
    for colour, depths in DEPTHS.items():
        for depth, size in itertools.product(depths, SIZES):
            yield from png_variants(colour, depth, size)
    yield from pngs_with_chunks()


def png_variants(colour, depth, size):
    rows, palette = png_rows(colour, depth, size)
    reference = upper_bytes(rows) if depth == 16 and "grey" in colour else None
    before = [(b"PLTE", b"".join(map(bytes, palette)))] if palette else []
    kind, end = f"PNG/{colour} {depth} bit", f"{size[0]}x{size[1]}"
    for interlace in [0, 1]:
        data = png_data(rows, depth, interlace, filters=range(5))
        yield f"{kind}/{'interlaced' if interlace else 'rows'} {end}", png(rows, colour, depth, before, data, interlace), reference
    if size == SIZES[0]:
        for name, filter in [("no", 0), ("Sub", 1), ("Up", 2), ("Average", 3), ("Paeth", 4)]:
            data = png_data(rows, depth, filters=[filter])
            yield f"{kind}/{name} filter {end}", png(rows, colour, depth, before, data), reference
    transparent = {"grey": rows[0][0], "RGB": rows[0][0], "palette": (0, 128, 255)}.get(colour)
    if transparent and size == SIZES[0]:
        chunk = bytes(transparent[: len(palette)]) if palette else struct.pack(f">{len(transparent)}H", *transparent)
        for interlace in [0, 1]:
            file = png(rows, colour, depth, [*before, (b"tRNS", chunk)], png_data(rows, depth, interlace), interlace)
            yield f"{kind}/tRNS, {'interlaced' if interlace else 'rows'} {end}", file, reference


def png_rows(colour, depth, size):
    if colour == "palette":
        return indexed(size, min(1 << depth, 200))
    return with_depth(rows_of(picture(size, COLOUR_TYPES[colour][1])), depth), []


def png_data(rows, depth, interlace=0, filters=(0,)):
    """Compressed rows of all passes. The filters alternate."""
    passes = ADAM7 if interlace else [(0, 0, 1, 1)]
    distance = max(1, len(rows[0][0]) * depth // 8)
    output = b""
    for left, top, across, down in passes:
        above = b""
        for row, filter in zip([row[left::across] for row in rows[top::down]], itertools.cycle(filters)):
            if row:
                samples = packed(row, depth)
                output += bytes([filter]) + filtered(filter, samples, above or bytes(len(samples)), distance)
                above = samples
    return zlib.compress(output)


def filtered(filter, row, above, distance):
    left = bytes(distance) + row
    corner = bytes(distance) + above
    predict = [lambda a, b, c: 0, lambda a, b, c: a, lambda a, b, c: b, lambda a, b, c: (a + b) // 2, paeth][filter]
    return bytes((x - predict(a, b, c)) % 256 for x, a, b, c in zip(row, left, above, corner))


def paeth(a, b, c):
    return min(a, b, c, key=lambda value: abs(a + b - c - value))


def png(rows, colour, depth, before, data, interlace=0, behind=(), cuts=()):
    """`before` and `behind` are chunks around the image data, which is cut into several chunks at `cuts`."""
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), depth, COLOUR_TYPES[colour][0], 0, 0, interlace)
    parts = [data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)])]
    chunks = [(b"IHDR", header), *before, *((b"IDAT", part) for part in parts), *behind, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)) for name, content in chunks
    )


def pngs_with_chunks():
    """Chunks that do not change pixels, APNG, and the orientation."""
    profile = b"a profile\0\0" + zlib.compress(bytes(128))
    points = struct.pack(">8I", 31_270, 32_900, 64_000, 33_000, 21_000, 71_000, 15_000, 6_000)
    chunks = {
        "gAMA": [(b"gAMA", struct.pack(">I", 100_000))],
        "sRGB": [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45_455))],
        "cHRM": [(b"gAMA", struct.pack(">I", 45_455)), (b"cHRM", points)],
        "iCCP": [(b"iCCP", profile)],
        "cICP, Display P3": [(b"cICP", bytes([12, 13, 0, 1]))],
        "cICP, BT.2100 PQ": [(b"cICP", bytes([9, 16, 0, 1]))],
        "mDCV": [(b"cICP", bytes([9, 16, 0, 1])), (b"mDCV", bytes(24)), (b"cLLI", bytes(8))],
        "bKGD": [(b"bKGD", b"\0\1\0\2\0\3")],
        "unknown chunk": [(b"kiLn", b"of no known meaning")],
        "text": [(b"tEXt", b"Comment\0a text"), (b"zTXt", b"Comment\0\0" + zlib.compress(b"a text")), (b"tIME", bytes(7))],
        "pHYs, not square": [(b"pHYs", struct.pack(">IIB", 1000, 2000, 1))],
    }
    for colour, depth in [("RGB", 8), ("palette", 4)]:
        rows, palette = png_rows(colour, depth, SIZES[0])
        data = png_data(rows, depth)
        plte = [(b"PLTE", b"".join(map(bytes, palette)))] if palette else []
        for name, before in chunks.items():
            if name == "bKGD" and colour != "RGB":
                continue
            yield f"PNG/{colour} {depth} bit with {name}/33x17", png(rows, colour, depth, [*before, *plte], data), None
        channels = 3 if palette else len(rows[0][0])
        yield f"PNG/{colour} {depth} bit with sBIT/33x17", png(rows, colour, depth, [(b"sBIT", bytes([3] * channels)), *plte], data), None
        several = png(rows, colour, depth, plte, data, cuts=[1, 1, 2, 40, len(data) - 1])
        yield f"PNG/{colour} {depth} bit/several IDAT chunks", several, None
    rows, _ = png_rows("RGB", 8, SIZES[0])
    data = png_data(rows, 8)
    yield "PNG/RGB 8 bit with a suggested palette/33x17", png(rows, "RGB", 8, [(b"PLTE", bytes(range(30)))], data), None
    yield "PNG/RGB 8 bit/bytes behind the end", png(rows, "RGB", 8, [], data) + b"trailer", None
    stored = zlib.compressobj(0)
    raw = zlib.decompress(data)
    yield "PNG/RGB 8 bit/stored blocks", png(rows, "RGB", 8, [], stored.compress(raw) + stored.flush()), None
    yield "PNG/RGB 8 bit/bytes behind the last row", png(rows, "RGB", 8, [], zlib.compress(raw + b"more")), None
    rows, palette = png_rows("palette", 8, SIZES[0])
    short = b"".join(map(bytes, palette[:150]))
    yield "PNG/palette 8 bit, indices beyond the palette/33x17", png(rows, "palette", 8, [(b"PLTE", short)], png_data(rows, 8)), None
    yield from orientations_of_pngs()
    yield from apngs()


def orientations_of_pngs():
    rows, _ = png_rows("RGB", 8, SIZES[0])
    for orientation in range(10):
        chunk = (b"eXIf", kinds.tiff_block(orientation))
        yield f"PNG/eXIf orientation/{orientation} before", png(rows, "RGB", 8, [chunk], png_data(rows, 8)), None
        yield f"PNG/eXIf orientation/{orientation} behind", png(rows, "RGB", 8, [], png_data(rows, 8), behind=[chunk]), None
    profile = b"\nexif\n      32\n" + (kinds.EXIF_HEAD + kinds.tiff_block(6)).hex().encode() + b"\n"
    for name, content in [(b"tEXt", b"\0" + profile), (b"zTXt", b"\0\0" + zlib.compress(profile))]:
        chunk = (name, b"Raw profile type exif" + content)
        yield f"PNG/ImageMagick's orientation/{name.decode()}", png(rows, "RGB", 8, [chunk], png_data(rows, 8)), None


def apngs():
    rows, _ = png_rows("RGBA", 8, SIZES[0])
    other = [[tuple(255 - sample for sample in pixel) for pixel in row] for row in rows]
    actl = (b"acTL", struct.pack(">II", 2, 0))

    def control(number, width=33, height=17, left=0, top=0, disposal=0, blend=0):
        return b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, left, top, 1, 10, disposal, blend)

    def frame(number, rows):
        return b"fdAT", struct.pack(">I", number) + png_data(rows, 8)

    part = [row[:20] for row in other[:9]]
    for disposal, blend in itertools.product(range(3), range(2)):
        before = [actl, control(0, disposal=disposal, blend=blend)]
        behind = [control(1, 20, 9, 5, 3, blend=1), frame(2, part)]
        file = png(rows, "RGBA", 8, before, png_data(rows, 8), behind=behind)
        yield f"PNG/APNG/first frame, disposal {disposal}, blend {blend}", file, None
    behind = [control(0), frame(1, other), control(2), frame(3, rows)]
    yield "PNG/APNG/default image apart", png(rows, "RGBA", 8, [actl], png_data(rows, 8), behind=behind), None
