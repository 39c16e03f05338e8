"""Writes a small picture in rarer kinds of file, by hand where Pillow cannot."""

import io
import struct
import subprocess
import zlib

from PIL import Image, ImageChops

ORIENTATION_TAG = 0x0112
ADOBE_MARKER = 0xEE
EXIF_HEAD = b"Exif\0\0"


def make(source, folder):
    """Writes the files; gives for each the file that Pillow's reading of it is taken from, nearly always itself."""
    with Image.open(source) as file:
        # Odd sides, so that the last blocks are filled up and the central crop is off the middle by one.
        cat = file.convert("RGB").resize((151, 101), Image.BICUBIC)
    make_jpegs(cat, folder)
    make_pngs(cat, folder)
    make_others(cat, folder)
    paths = [path for path in sorted(folder.iterdir()) if not path.name.endswith(".golden.png")]
    # Pillow clips 16-bit grey to 255 where it converts it to RGB; the 8-bit file has the right upper bytes.
    return {path: folder / "grey.png" if path.name == "grey_16_bit.png" else path for path in paths}


def exif(orientation):
    block = Image.Exif()
    block[ORIENTATION_TAG] = orientation
    return block


def make_jpegs(cat, folder):
    cat.save(folder / "chroma_422.jpg", quality=90, subsampling=1)
    cat.save(folder / "chroma_444.jpg", quality=90, subsampling=0)
    cat.save(folder / "restart.jpg", quality=90, restart_marker_blocks=3)
    cat.save(folder / "rgb.jpg", quality=90, keep_rgb=True)
    cat.convert("L").save(folder / "grey_progressive.jpg", quality=90, progressive=True)
    cat.resize((7, 5), Image.BICUBIC).save(folder / "tiny.jpg", quality=90)
    cat.resize((1, 1), Image.BICUBIC).save(folder / "one_pixel.jpg", quality=90)
    inks = separated(cat)
    inks.save(folder / "inks.jpg", quality=90)
    unmarked = with_adobe_segment((folder / "inks.jpg").read_bytes(), lambda segment: b"")
    (folder / "inks_without_marker.jpg").write_bytes(unmarked)
    (folder / "ycck.jpg").write_bytes(ycck(inks, quality=90))
    # A thumbnail is a whole JPEG within the EXIF segment, with markers of its own.
    thumbnail = io.BytesIO()
    cat.resize((32, 20)).save(thumbnail, "JPEG")
    content = EXIF_HEAD + tiff_block(6) + thumbnail.getvalue()
    cat.save(folder / "exif_with_thumbnail.jpg", quality=90, exif=content)
    make_unusual_jpegs(cat, folder)


def make_unusual_jpegs(cat, folder):
    """JPEG files that few programs write, by libjpeg-turbo's tools (Debian: libjpeg-turbo-progs)."""
    pixels = io.BytesIO()
    cat.save(pixels, "PPM")

    def compress(*options):
        return subprocess.run(["cjpeg", "-quality", "90", *options], input=pixels.getvalue(), stdout=subprocess.PIPE, check=True).stdout

    def scans(script, *options):
        return compress("-scans", write_script(folder, script), *options)

    files = {
        # A scan for each component, with and without restart markers that do not divide a row of blocks.
        "scans_420.jpg": scans("0;1;2;", "-sample", "2x2"),
        "scans_422_restart.jpg": scans("0;1 2;", "-sample", "2x1", "-restart", "4B"),
        "scans_444_restart.jpg": scans("0 1;2;", "-sample", "1x1", "-restart", "4B"),
        # Fewer samples of luma than of chroma.
        "coarse_luma.jpg": compress("-sample", "1x1,2x2,2x2"),
        "coarse_luma_progressive.jpg": compress("-progressive", "-sample", "1x1,2x1,2x1"),
        "uneven_chroma.jpg": compress("-sample", "2x2,1x2,2x1"),
    }
    # JFIF says YCbCr and Adobe's segment RGB. JFIF decides, as in libjpeg.
    ycc = compress("-sample", "1x1")
    adobe = struct.pack(">BBH5sHHHB", 0xFF, ADOBE_MARKER, 14, b"Adobe", 100, 0, 0, 0)
    files["jfif_and_adobe_rgb.jpg"] = ycc[:20] + adobe + ycc[20:]
    # The first EXIF segment is empty; the orientation is in the second one.
    segments = [struct.pack(">BBH", 0xFF, 0xE1, 2 + len(content)) + content for content in (EXIF_HEAD, EXIF_HEAD + tiff_block(6))]
    files["exif_second.jpg"] = ycc[:2] + b"".join(segments) + ycc[2:]
    # The orientation is a 32-bit number.
    long = EXIF_HEAD + struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, ORIENTATION_TAG, 4, 1, 3, 0)
    files["exif_long.jpg"] = ycc[:2] + struct.pack(">BBH", 0xFF, 0xE1, 2 + len(long)) + long + ycc[2:]
    for name, content in files.items():
        (folder / name).write_bytes(content)


def write_script(folder, script):
    """Writes a scan script beside the files of this folder, and returns its path."""
    path = folder.parent / "scans.txt"
    path.write_text(script)
    return str(path)


def tiff_block(orientation):
    """A big-endian TIFF structure whose one entry is the orientation."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, ORIENTATION_TAG, 3, 1, orientation, 0, 0)


def separated(cat):
    """CMYK in which black does what the three inks have in common, as printers have it."""
    inks = [ImageChops.invert(band) for band in cat.split()]
    black = ImageChops.darker(ImageChops.darker(inks[0], inks[1]), inks[2])
    return Image.merge("CMYK", [*(ImageChops.subtract(ink, black) for ink in inks), black])


def ycck(inks, **options):
    """A YCCK file: the colours as YCbCr, black as it is; the last byte of the Adobe segment says so."""
    *colours, black = inks.split()
    ycc = Image.merge("RGB", colours).convert("YCbCr").split()
    buffer = io.BytesIO()
    Image.merge("CMYK", [*map(ImageChops.invert, ycc), black]).save(buffer, "JPEG", **options)
    return with_adobe_segment(buffer.getvalue(), lambda segment: segment[:-1] + b"\2")


def with_adobe_segment(jpeg, change):
    """The same file with change(segment) in place of its Adobe segment."""
    at = 2
    while jpeg[at + 1] != ADOBE_MARKER:
        at += 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
    end = at + 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
    return jpeg[:at] + change(jpeg[at:end]) + jpeg[end:]


def make_pngs(cat, folder):
    faded = cat.copy()
    faded.putalpha(Image.linear_gradient("L").resize(cat.size))
    faded.convert("LA").save(folder / "grey_alpha.png")
    cat.convert("L").save(folder / "grey.png")
    cat.convert("1").save(folder / "one_bit.png")
    cat.convert("P", palette=Image.ADAPTIVE, colors=4).save(folder / "palette_2_bit.png", bits=2)
    cat.convert("P", palette=Image.ADAPTIVE, colors=64).save(folder / "palette_transparent.png", transparency=5)
    cat.save(folder / "exif_6.png", exif=exif(6))
    # Some programs write the EXIF chunk behind the image data.
    png = (folder / "exif_6.png").read_bytes()
    chunk = png.index(b"eXIf") - 4
    length = 12 + struct.unpack_from(">I", png, chunk)[0]
    png = png[:chunk] + png[chunk + length : -12] + png[chunk : chunk + length] + png[-12:]
    (folder / "exif_behind_data.png").write_bytes(png)
    write_png16(folder / "grey_16_bit.png", 0, cat.convert("L"))
    write_png16(folder / "grey_alpha_16_bit.png", 4, faded.convert("LA"))
    write_png16(folder / "rgb_16_bit.png", 2, cat)
    write_png16(folder / "rgba_16_bit.png", 6, faded)


def write_png16(path, colour_type, picture):
    """16-bit PNG; each sample's upper byte is the picture's, its lower byte 255, so that rounding would show."""
    width, height = picture.size
    samples = picture.tobytes()
    row = len(samples) // height
    wide = [b"\0" + b"".join(bytes([s, 255]) for s in samples[y * row : (y + 1) * row]) for y in range(height)]
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(wide))),
        (b"IEND", b""),
    ]
    packed = [struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def make_others(cat, folder):
    palette = cat.convert("P", palette=Image.ADAPTIVE, colors=64)
    palette.save(folder / "transparent.gif", transparency=5)
    cat.save(folder / "exif_8.webp", lossless=True, exif=exif(8))
    # Some programs write the head of JPEG's EXIF segment into the chunk.
    prefixed = io.BytesIO()
    cat.save(prefixed, "WEBP", lossless=True, exif=EXIF_HEAD + tiff_block(6))
    (folder / "exif_prefixed.webp").write_bytes(with_exif_head(prefixed.getvalue()))
    # The screen of this GIF has one pixel, and its frame is larger.
    gif = bytearray((folder / "transparent.gif").read_bytes())
    gif[6:10] = struct.pack("<HH", 1, 1)
    (folder / "frame_beyond_screen.gif").write_bytes(gif)
    make_gifs(cat, folder)
    make_bmps(cat, folder)
    negative = ImageChops.invert(cat)
    cat.save(folder / "animated.webp", save_all=True, append_images=[negative], duration=100, lossless=True)
    faded = cat.copy()
    faded.putalpha(Image.linear_gradient("L").resize(cat.size))
    faded.save(folder / "exif_6_alpha.webp", quality=90, exif=exif(6))
    cat.save(folder / "exif_5.tiff", compression="tiff_lzw", tiffinfo={ORIENTATION_TAG: 5})
    write_tiff(folder / "exif_3_big_endian.tiff", cat.convert("L"), 3)


def make_gifs(cat, folder):
    """Frames that do not cover the screen. What is around them has the transparent colour, or the first one."""
    palette = cat.resize((90, 70)).convert("P", palette=Image.ADAPTIVE, colors=32)
    for name, transparent, disposal, interlace in [("small_frame", None, 0, 0), ("small_frame_transparent", 7, 2, 1)]:
        buffer = io.BytesIO()
        options = {} if transparent is None else {"transparency": transparent}
        palette.save(buffer, "GIF", interlace=interlace, optimize=False, disposal=disposal, **options)
        gif = bytearray(buffer.getvalue())
        # The screen, its background colour, and the position of the frame.
        gif[6:10] = struct.pack("<HH", 151, 101)
        gif[11] = 3
        frame = gif.index(b",\0\0\0\0" + struct.pack("<HH", *palette.size))
        gif[frame + 1 : frame + 5] = struct.pack("<HH", 31, 17)
        (folder / f"{name}.gif").write_bytes(gif)


def make_bmps(cat, folder):
    palette = cat.convert("P", palette=Image.ADAPTIVE, colors=16)
    width, height = cat.size
    colours = [palette.getpalette()[3 * index : 3 * index + 3] for index in range(16)]
    pixels = palette.tobytes()
    rows = [pixels[y * width : (y + 1) * width] for y in reversed(range(height))]
    packed = b"".join(padded(bytes(a << 4 | b for a, b in zip(row[::2], row[1::2] + b"\0"))) for row in rows)
    bgr = b"".join(bytes([b, g, r]) for r, g, b in colours)
    bgrx = b"".join(bytes([b, g, r, 0]) for r, g, b in colours)
    # Windows' header: sizes, planes, depth, compression, length, resolution, colours. That of OS/2 goes on with 24 bytes.
    def fields(depth, compression=0, length=0, rows=height):
        return struct.pack("<iiHHIIiiII", width, rows, 1, depth, compression, length, 0, 0, 16, 0)
    write_bmp(folder / "os2_version_1.bmp", struct.pack("<HHHH", width, height, 1, 4), bgr, packed)
    write_bmp(folder / "os2_version_2.bmp", fields(4) + bytes(24), bgrx, packed)
    write_bmp(folder / "reserved_bytes.bmp", fields(4), bgrx, packed, reserved=b"kiln")
    runs = b"".join(run_lengths(row) for row in rows) + b"\0\1"
    write_bmp(folder / "run_lengths.bmp", fields(8, 1, len(runs)), bgrx, runs)
    small = cat.resize((75, 51))
    size = struct.pack("<ii", 75, -51)
    top_down = b"".join(padded(small.crop((0, y, 75, y + 1)).tobytes("raw", "BGR")) for y in range(51))
    write_bmp(folder / "top_down.bmp", size + fields(24)[8:32] + bytes(4), b"", top_down)


def padded(row):
    return row + bytes(-len(row) % 4)


def run_lengths(row):
    """Pairs of a length and an index, and the end of the row."""
    runs = bytearray()
    for index in row:
        if runs and runs[-1] == index and runs[-2] < 255:
            runs[-2] += 1
        else:
            runs += bytes([1, index])
    return bytes(runs) + b"\0\0"


def write_bmp(path, header, colours, pixels, reserved=bytes(4)):
    start = 14 + 4 + len(header) + len(colours)
    file = b"BM" + struct.pack("<I", start + len(pixels)) + reserved + struct.pack("<I", start)
    path.write_bytes(file + struct.pack("<I", 4 + len(header)) + header + colours + pixels)


def write_tiff(path, picture, orientation):
    """A big-endian TIFF without compression. Its orientation is a 32-bit number."""
    (width, height), pixels = picture.size, picture.tobytes()
    tags = [(256, 4, width), (257, 4, height), (258, 4, 8), (259, 4, 1), (262, 4, 1), (273, 4, 8), (ORIENTATION_TAG, 4, orientation)]
    tags += [(277, 4, 1), (278, 4, height), (279, 4, len(pixels))]
    pixels += bytes(len(pixels) % 2)
    directory = b"".join(struct.pack(">HHII", tag, kind, 1, value) for tag, kind, value in tags)
    head = b"MM" + struct.pack(">HI", 42, 8 + len(pixels))
    path.write_bytes(head + pixels + struct.pack(">H", len(tags)) + directory + bytes(4))


def with_exif_head(webp):
    """The same WebP file with the head of JPEG's EXIF segment at the start of its EXIF chunk."""
    at = webp.index(b"EXIF")
    (length,) = struct.unpack_from("<I", webp, at + 4)
    content = webp[at + 8 : at + 8 + length]
    content = content if content.startswith(EXIF_HEAD) else EXIF_HEAD + content
    chunk = b"EXIF" + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    body = webp[8:at] + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body
