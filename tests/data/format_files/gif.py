"""GIF with global and local palettes, interlacing, transparency, and frames of all positions."""
import itertools
import struct

from .samples import SIZES, indexed, lzw, noise, picture, rows_of


def gifs():
    for colours, size in itertools.product([2, 3, 4, 5, 16, 17, 100, 256], SIZES):
        rows, palette = indexed(size, colours)
        end = f"{size[0]}x{size[1]}"
        for version, interlace in [("87a", False), ("89a", True)]:
            variant = f"{version}{' interlaced' if interlace else ''} {end}"
            yield f"GIF/{colours} colours/{variant}", gif(rows, palette, version=version, interlace=interlace), None
        if size != SIZES[0]:
            continue
        yield f"GIF/{colours} colours/local palette {end}", gif(rows, None, local=palette), None
        yield f"GIF/{colours} colours/both palettes {end}", gif(rows, palette[::-1], local=palette), None
        yield f"GIF/{colours} colours/transparent {end}", gif(rows, palette, transparent=colours - 1), None
    yield from gif_frames()
    yield from unusual_gifs()


def gif_frames():
    """The first frame does not cover the screen, or ends beyond it."""
    rows, palette = indexed((20, 9), 16)
    places = {"smaller": ((33, 17), (0, 0)), "at an offset": ((33, 17), (7, 5)), "in the corner": ((33, 17), (13, 8))}
    places |= {"beyond": ((10, 5), (0, 0)), "partly beyond": ((15, 40), (9, 3)), "apart": ((5, 5), (9, 9)), "no screen": ((0, 0), (0, 0))}
    for (place, (screen, position)), transparent, is_local in itertools.product(places.items(), [None, 3, 200], [False, True]):
        tables = {"palette": palette[::-1], "local": palette} if is_local else {"palette": palette}
        file = gif(rows, **tables, screen=screen, position=position, transparent=transparent, background=4)
        yield f"GIF/frame {place}/transparent {transparent}{', local palette' if is_local else ''}", file, None
    other = [[(15 - pixel[0],) for pixel in row] for row in rows]
    for disposal, transparent in itertools.product(range(4), [None, 3]):
        file = gif(rows, palette, screen=(33, 17), position=(7, 5), disposal=disposal, transparent=transparent)
        second = gif(other, palette, screen=(33, 17), disposal=disposal)
        yield f"GIF/animation/disposal {disposal}, transparent {transparent}", file[:-1] + second[13 + 48 :], None


def unusual_gifs():
    rows, palette = indexed(SIZES[0], 16)
    whole = gif(rows, palette)
    start = 13 + 48
    comment = b"!\xfe\x05hello\0"
    loop = b"!\xff\x0bNETSCAPE2.0\x03\1\0\0\0"
    text = b"!\x01\x0c" + bytes(8) + b"\x08\x08\1\2" + b"\x02hi\0"
    control = b"!\xf9\x04\1\0\0\x05\0"
    yield "GIF/extensions/comment, loop", whole[:start] + comment + loop + whole[start:], None
    yield "GIF/extensions/plain text", whole[:start] + text + whole[start:], None
    small = gif(rows, palette, screen=(50, 20))
    yield "GIF/extensions/two controls", small[:start] + control + b"!\xf9\x04\0\0\0\0\0" + small[start:], None
    yield "GIF/extensions/control and comment", small[:start] + control + comment + small[start:], None
    yield "GIF/without a trailer/33x17", whole[:-1], None
    yield "GIF/bytes behind the trailer/33x17", whole + b"trailer", None
    yield "GIF/no palette/33x17", gif(rows, None), None
    grey = [[index] * 3 for index in range(256)]
    yield "GIF/palette of greys/whole", gif(rows_of(picture(SIZES[0], "L")), grey), None
    image = picture(SIZES[0], "L")
    # Pillow makes this one black.
    reference = (*image.size, image.convert("RGB").tobytes())
    yield "GIF/palette of greys/local", gif(rows_of(image), palette, local=grey), reference
    yield "GIF/indices beyond the palette/33x17", gif(rows, palette[:8], bits=4), None
    yield "GIF/indices beyond the palette/transparent", gif(rows, palette[:8], bits=4, transparent=12), None
    yield "GIF/longer codes than needed/33x17", gif(rows, palette, bits=8), None
    rows = noise((97, 89), 256)
    yield "GIF/all LZW codes/restarts", gif(rows, indexed(SIZES[0], 256)[1]), None
    yield "GIF/all LZW codes/no restarts", gif(rows, indexed(SIZES[0], 256)[1], restarts=False), None


def gif(rows, palette, version="89a", screen=None, background=0, bits=None, **frame):
    """A GIF of one frame; for `frame` see gif_frame."""
    width, height = screen or (len(rows[0]), len(rows))
    flags, table = gif_table(palette)
    bits = bits or max(2, (len(frame.get("local") or palette or [0] * 256) - 1).bit_length())
    head = b"GIF" + version.encode() + struct.pack("<HHBBB", width, height, flags | 0x70, background, 0)
    return head + table + gif_frame(rows, bits, **frame) + b";"


def gif_table(palette):
    """The flags and the bytes of a colour table, filled up with zeros to a power of two."""
    if not palette:
        return 0, b""
    bits = max(1, (len(palette) - 1).bit_length())
    return 0x80 | bits - 1, b"".join(map(bytes, palette)).ljust(3 << bits, b"\0")


def gif_frame(rows, bits, local=None, position=(0, 0), interlace=False, transparent=None, disposal=0, restarts=True):
    flags, table = gif_table(local)
    height = len(rows)
    order = [y for start, step in [(0, 8), (4, 8), (2, 4), (1, 2)] for y in range(start, height, step)] if interlace else range(height)
    control = b""
    if transparent is not None or disposal:
        control = struct.pack("<BBBBHBB", 0x21, 0xF9, 4, disposal << 2 | (transparent is not None), 10, transparent or 0, 0)
    head = struct.pack("<BHHHHB", 0x2C, *position, len(rows[0]), height, flags | interlace << 6)
    data = lzw([pixel[0] for y in order for pixel in rows[y]], bits, restarts=restarts)
    blocks = b"".join(bytes([len(data[at : at + 255])]) + data[at : at + 255] for at in range(0, len(data), 255))
    return control + head + table + bytes([bits]) + blocks + b"\0"
