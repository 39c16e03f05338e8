"""BMP of every depth, header and compression that Pillow reads."""
import itertools
import struct

import kinds
from .samples import SIZES, indexed, packed, picture, rows_of, with_depth

HEADERS = {"Windows 3": 40, "V2": 52, "V3": 56, "V4": 108, "V5": 124, "OS/2 2": 64}
MASKS_565, MASKS_555 = (0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)
WIDE_MASKS = {
    "BGRX": (0xFF0000, 0xFF00, 0xFF, 0),
    "XBGR": (0xFF000000, 0xFF0000, 0xFF00, 0),
    "BGXR": (0xFF000000, 0xFF00, 0xFF, 0),
    "ABGR": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
    "RGBA": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
    "BGRA": (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    "BGAR": (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
    "none": (0, 0, 0, 0),
}


def bmps():
    for size in SIZES:
        for depth in [1, 4, 8]:
            rows, palette = indexed(size, min(1 << depth, 200))
            for variant, header, flip in headers(size):
                yield f"BMP/{depth} bit/{variant}", bmp(rows, depth, bmp_rows(rows, depth, flip), header, palette, flip=flip), None
            yield f"BMP/{depth} bit/OS/2 1 {size[0]}x{size[1]}", bmp_os2(rows, depth, palette), None
        yield from true_colour_bmps(size)
        yield from run_length_bmps(size)
    yield from unusual_bmps()


def headers(size):
    """Names of variants, lengths of headers, and whether the first row is the upper one. Small files have one header."""
    for (name, length), flip in itertools.product(HEADERS.items(), [False, True]):
        if size == SIZES[0] or (length, flip) == (40, False):
            yield f"{name}{' top-down' if flip else ''} {size[0]}x{size[1]}", length, flip


def true_colour_bmps(size):
    rows = rows_of(picture(size, "RGBA"))
    yield f"BMP/24 bit/OS/2 1 {size[0]}x{size[1]}", bmp_os2(rows, 24, []), None
    for variant, header, flip in headers(size):
        for depth, masks in [(16, MASKS_555), (24, WIDE_MASKS["BGRX"]), (32, WIDE_MASKS["BGRX"])]:
            yield f"BMP/{depth} bit/{variant}", bmp(rows, depth, bmp_fields(rows, depth, masks, flip), header, flip=flip), None
        if header == HEADERS["OS/2 2"]:
            continue
        for kind, masks in [("555", MASKS_555), ("565", MASKS_565)]:
            file = bmp(rows, 16, bmp_fields(rows, 16, masks, flip), header, compression=3, masks=masks, flip=flip)
            yield f"BMP/16 bit {kind} by bit fields/{variant}", file, None
        if flip:
            continue
        for kind, masks in WIDE_MASKS.items():
            if masks[3] == 0 or header >= HEADERS["V3"]:
                data = bmp_fields(rows, 32, masks if any(masks) else WIDE_MASKS["BGRA"])
                yield f"BMP/32 bit {kind} by bit fields/{variant}", bmp(rows, 32, data, header, compression=3, masks=masks), None


def run_length_bmps(size):
    end = f"{size[0]}x{size[1]}"
    for depth, compression in [(8, 1), (4, 2)]:
        rows, palette = indexed(size, min(1 << depth, 200))
        upward = [[pixel[0] for pixel in row] for row in rows[::-1]]
        for name, encode in [("runs", run_lengths), ("absolute", absolute_runs), ("pairs", runs_of_pairs)]:
            if (depth, name) == (8, "pairs"):
                continue
            data = b"".join(encode(row, depth) + b"\0\0" for row in upward)
            for variant, header, flip in headers(size):
                if not flip:
                    file = bmp(rows, depth, data + b"\0\1", header, palette, compression)
                    yield f"BMP/RLE{depth}/{name}, {variant}", file, None
        lines = [run_lengths(row, depth) for row in upward]
        data = b"\0\0".join(lines) + b"\0\1"
        yield f"BMP/RLE{depth}/end without that of the row {end}", bmp(rows, depth, data, 40, palette, compression), None
        if depth == 8:
            longer = b"".join(line[:-2] + bytes([line[-2] + 2]) + line[-1:] + b"\0\0" for line in lines)
            yield f"BMP/RLE8/runs beyond the row {end}", bmp(rows, depth, longer, 40, palette, compression), None
        if size == SIZES[0]:
            file = bmp(rows, depth, b"\0\0".join(lines[::-1]) + b"\0\1", 40, palette, compression, flip=True)
            yield f"BMP/RLE{depth} top-down/{end}", file, None
            yield from bmps_with_gaps(rows, palette, upward, depth, compression)


def bmps_with_gaps(rows, palette, upward, depth, compression):
    """Pixels that no run covers have the first colour of the palette."""
    def stepping(lines, right, up):
        step = bytes([0, 2, right, up])
        return b"".join(run_lengths(row[:5], depth) + step + run_lengths(row[5 + right :], depth) + b"\0\0" for row in lines)

    gaps = {
        "short rows": b"".join(run_lengths(row[: 3 + index], depth) + b"\0\0" for index, row in enumerate(upward)),
        "steps": stepping(upward, 9, 0),
        "steps over rows": stepping(upward[:15:3], 4, 2) + bytes([0, 2, 33, 1]),
    }
    for name, data in gaps.items():
        yield f"BMP/RLE{depth} with gaps/{name}", bmp(rows, depth, data + b"\0\1", 40, palette, compression), None


def run_lengths(row, depth):
    """Pairs of a length and an index. In RLE4 both halves of the index are equal."""
    index = (lambda index: index) if depth == 8 else (lambda index: index * 0x11)
    return b"".join(bytes([len(list(run)), index(value)]) for value, run in itertools.groupby(row))


def absolute_runs(row, depth):
    """Indices that are not repeated, of which there are at least three; padded to 16 bits."""
    output = b""
    for at in range(0, len(row), 11):
        part = row[at : at + 11]
        if len(part) < 3:
            output += run_lengths(part, depth)
        else:
            data = packed([(index,) for index in part], depth)
            output += bytes([0, len(part)]) + data + bytes(len(data) % 2)
    return output


def runs_of_pairs(row, _):
    """In RLE4, a run may have two indices that alternate."""
    pairs = zip(row[::2], row[1::2])
    return b"".join(bytes([2, a << 4 | b]) for a, b in pairs) + (bytes([1, row[-1] << 4]) if len(row) % 2 else b"")


def unusual_bmps():
    rows, palette = indexed(SIZES[0], 16)
    data = bmp_rows(rows, 4)
    yield "BMP/4 bit/fewer colours", bmp(*with_palette(12)), None
    few, palette_8 = indexed(SIZES[0], 16)
    yield "BMP/8 bit/fewer colours", bmp(few, 8, bmp_rows(few, 8), 40, palette_8, used=16), None
    yield "BMP/8 bit/indices beyond the palette", bmp(few, 8, bmp_rows(few, 8), 40, palette_8[:9], used=9), None
    greys = [[index] * 3 for index in range(256)]
    grey = rows_of(picture(SIZES[0], "L"))
    yield "BMP/8 bit/greys", bmp(grey, 8, bmp_rows(grey, 8), 40, greys), None
    bits = with_depth(grey, 1)
    yield "BMP/1 bit/black and white", bmp(bits, 1, bmp_rows(bits, 1), 40, [[0] * 3, [255] * 3]), None
    yield "BMP/1 bit/white and black", bmp(bits, 1, bmp_rows(bits, 1), 40, [[255] * 3, [0] * 3]), None
    whole = bmp(rows, 4, data, 40, palette)
    for name, offset in [("no offset", 0), ("offset of the palette", 54)]:
        yield f"BMP/4 bit/{name}", whole[:10] + struct.pack("<I", offset) + whole[14:], None
    yield "BMP/4 bit/without the last padding", whole[:-3], None
    yield "BMP/4 bit/bytes behind the pixels", whole + b"trailer", None
    rows, masks = rows_of(picture(SIZES[0])), WIDE_MASKS["BGRX"]
    data = bmp_fields(rows, 24, masks)
    whole = bmp(rows, 24, data, 40)
    yield "BMP/24 bit/no offset", whole[:10] + bytes(4) + whole[14:], None
    yield "BMP/24 bit/palette", bmp(rows, 24, data, 40, palette, used=16), None
    yield "BMP/24 bit by bit fields/33x17", bmp(rows, 24, data, 40, compression=3, masks=masks), None


def with_palette(colours):
    rows, palette = indexed(SIZES[0], colours)
    return rows, 4, bmp_rows(rows, 4), 40, palette, 0, (), False, b"", colours


def bmp_rows(rows, depth, flip=False):
    """Rows from the lowest to the highest, padded to four bytes."""
    return b"".join(kinds.padded(packed(row, depth)) for row in (rows if flip else rows[::-1]))


def bmp_fields(rows, depth, masks, flip=False):
    """Pixels of 16, 24 or 32 bits. Each sample's upper bits lie under its mask."""
    def field(sample, mask):
        length, start = mask.bit_count(), (mask & -mask).bit_length() - 1
        return (sample >> (8 - length)) << start if mask else 0

    def pixel(samples):
        return sum(field(sample, mask) for sample, mask in zip(samples, masks)).to_bytes(depth // 8, "little")

    return b"".join(kinds.padded(b"".join(map(pixel, row))) for row in (rows if flip else rows[::-1]))


def bmp(rows, depth, data, header, palette=(), compression=0, masks=(), flip=False, gap=b"", used=0):
    """A BMP with a header of the given length. The short header of Windows has bit fields behind it."""
    height = -len(rows) if flip else len(rows)
    fields = struct.pack("<IiiHHIIiiII", header, len(rows[0]), height, 1, depth, compression, len(data), 2835, 2835, used, 0)
    masks = struct.pack(f"<{len(masks)}I", *masks)
    fields += masks[:12] if header == 40 else masks[: header - 40].ljust(header - 40, b"\0")
    count = len(palette) if used or depth > 8 else 1 << depth
    table = b"".join(bytes([*colour[::-1], 0]) for colour in palette).ljust(4 * count, b"\0")
    start = 14 + len(fields) + len(table) + len(gap)
    return b"BM" + struct.pack("<III", start + len(data), 0, start) + fields + table + gap + data


def bmp_os2(rows, depth, palette):
    data = bmp_rows(rows, depth) if depth <= 8 else bmp_fields(rows, depth, WIDE_MASKS["BGRX"])
    table = b"".join(bytes(colour[::-1]) for colour in palette).ljust(3 << depth if depth <= 8 else 0, b"\0")
    start = 26 + len(table)
    fields = struct.pack("<IHHHH", 12, len(rows[0]), len(rows), 1, depth)
    return b"BM" + struct.pack("<III", start + len(data), 0, start) + fields + table + data
