"""Pictures as rows of samples, and what several formats have in common."""
import io
import struct
from pathlib import Path

from PIL import Image, ImageOps

import kinds

PHOTO = Path(__file__).parent.parent / "photos" / "astronaut_640x480.jpg"
SIZES = [(33, 17), (3, 7), (1, 1)]


def pixels_of(name, file):
    """Width, height and RGB pixels by Pillow."""
    try:
        with Image.open(io.BytesIO(file)) as image:
            upright = ImageOps.exif_transpose(image)
            assert not upright.mode.startswith("I"), "Pillow clips wide samples"
            return (*upright.size, upright.convert("RGB").tobytes())
    except Exception as error:
        raise ValueError(f"Pillow does not read {name}") from error


def picture(size, mode="RGB"):
    """A part of a photo with strong colours, and alpha that falls to the lower right."""
    with Image.open(PHOTO) as file:
        image = file.convert("RGB").crop((150, 60, 390, 300)).resize(size, Image.BICUBIC)
    if mode == "CMYK":
        return kinds.separated(image)
    if "A" in mode:
        alpha = [255 - 255 * (x + y) // sum(size) for y in range(size[1]) for x in range(size[0])]
        image.putalpha(Image.frombytes("L", size, bytes(alpha)))
    return image.convert(mode)


def indexed(size, colours):
    """Rows of indices, and the palette: exactly `colours` entries of RGB."""
    image = picture(size).quantize(colours, Image.Quantize.MEDIANCUT)
    palette = (image.getpalette() + list(range(255, -1, -1)) * 3)[: 3 * colours]
    return rows_of(image), [palette[at : at + 3] for at in range(0, len(palette), 3)]


def rows_of(image):
    """Rows of pixels; each pixel is a tuple of samples, 0..=255."""
    samples, width, bands = image.tobytes(), image.width, len(image.getbands())
    pixels = [tuple(samples[at : at + bands]) for at in range(0, len(samples), bands)]
    return [pixels[at : at + width] for at in range(0, len(pixels), width)]


def with_depth(rows, depth):
    """Samples of fewer or of 16 bits. The lower byte of 16 bits differs from the upper one, so that rounding would show."""
    convert = (lambda sample: sample << 8 | 255 - sample // 2) if depth == 16 else lambda sample: sample >> (8 - depth)
    return [[tuple(map(convert, pixel)) for pixel in row] for row in rows]


def packed(row, depth, order=">"):
    """The bytes of a row. Samples of fewer than eight bits fill a byte from its upper end."""
    samples = [sample for pixel in row for sample in pixel]
    if depth == 16:
        return struct.pack(f"{order}{len(samples)}H", *samples)
    bits = "".join(f"{sample:0{depth}b}" for sample in samples)
    bits += "0" * (-len(bits) % 8)
    return int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:]


def upper_bytes(rows):
    """The reference of 16-bit grey: the upper byte of the first sample."""
    pixels = b"".join(bytes([pixel[0] >> 8]) * 3 for row in rows for pixel in row)
    return len(rows[0]), len(rows), pixels


def lzw(symbols, bits, is_tiff=False, restarts=True):
    """LZW of GIF or TIFF. They fill a byte from opposite ends, and TIFF lengthens its codes one code earlier."""
    clear = 1 << bits
    codes, table, width = [(clear, bits + 1)], {}, bits + 1
    prefix = symbols[0]
    for symbol in [*symbols[1:], None]:
        if (prefix, symbol) in table:
            prefix = table[prefix, symbol]
            continue
        codes.append((prefix, width))
        new = clear + 2 + len(table)
        if new < 4096:
            table[prefix, symbol] = new
            width = min(12, width + (new == (1 << width) - is_tiff))
        prefix = symbol
        if new == 4093 and restarts:
            codes.append((clear, width))
            table, width = {}, bits + 1
    codes.append((clear + 1, width))
    if is_tiff:
        stream = "".join(f"{code:0{width}b}" for code, width in codes)
        return bytes(int(stream[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(stream), 8))
    stream = "".join(f"{code:0{width}b}"[::-1] for code, width in codes)
    return bytes(int(stream[at : at + 8][::-1], 2) for at in range(0, len(stream), 8))


def noise(size, colours):
    """Rows of pseudorandom indices: LZW needs all its codes."""
    state, rows = 1, []
    for _ in range(size[1]):
        row = []
        for _ in range(size[0]):
            state = (state * 1_103_515_245 + 12_345) % (1 << 31)
            row.append((state * colours >> 31,))
        rows.append(row)
    return rows


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
