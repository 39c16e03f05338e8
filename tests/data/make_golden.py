"""Makes the picture variants and the golden prepared pictures with Pillow, the reference for decoding and resizing.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install pillow==13.0.0
    /tmp/golden/bin/python tests/data/make_golden.py

Reads photos/. Writes variants/ (other formats, colour spaces and orientations of one photo) and golden/ (what the
default model's preprocessing makes of each picture, as lossless PNG), and, with the help of kinds.py, kinds/: small
files of rarer kinds, each with what the same preprocessing makes of it in 64x64. The tests compare the server's own
decoder and resize with these.
"""
from pathlib import Path

from PIL import Image, ImageOps

import kinds

HERE = Path(__file__).parent
SIZE, PADDING = 224, 32
KINDS_SIZE, KINDS_PADDING = 64, 8
# EXIF: little-endian TIFF, one entry in IFD0: tag 0x0112 (orientation), type SHORT, count 1.
ORIENTATION_TAG = 0x0112


def prepare(path, size=SIZE, padding=PADDING):
    """Central square of side min(h, w) * size / (size + padding) of the upright picture, antialiased bicubic."""
    with Image.open(path) as file:
        picture = ImageOps.exif_transpose(file).convert("RGB")
    width, height = picture.size
    side = size * min(width, height) // (size + padding)
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    return picture.resize((size, size), Image.BICUBIC, box=(left, top, left + side, top + side))


def make_variants(source, folder):
    """One photo in every shape that the decoder must get right."""
    with Image.open(source) as file:
        cat = file.convert("RGB")
    cat.save(folder / "cat.png")
    faded = cat.copy()
    faded.putalpha(Image.linear_gradient("L").resize(cat.size))
    faded.save(folder / "cat_alpha.png")
    cat.convert("P", palette=Image.ADAPTIVE).save(folder / "cat_palette.png")
    cat.convert("L").save(folder / "cat_grey.png")
    cat.convert("P", palette=Image.ADAPTIVE).save(folder / "cat.gif")
    frames = [cat.convert("P", palette=Image.ADAPTIVE), Image.new("P", cat.size)]
    frames[0].save(folder / "cat_animated.gif", save_all=True, append_images=frames[1:], duration=100)
    cat.save(folder / "cat_progressive.jpg", quality=90, progressive=True)
    cat.convert("L").save(folder / "cat_grey.jpg", quality=90)
    cat.convert("CMYK").save(folder / "cat_cmyk.jpg", quality=90)
    cat.save(folder / "cat_420.jpg", quality=85, subsampling=2)
    cat.save(folder / "cat.webp", quality=90)
    cat.save(folder / "cat.bmp")
    cat.save(folder / "cat.tiff", compression="tiff_lzw")
    small = cat.resize((301, 200), Image.BICUBIC)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = orientation
        small.save(folder / f"exif_{orientation}.jpg", quality=90, exif=exif)


def main():
    variants, golden, small = HERE / "variants", HERE / "golden", HERE / "kinds"
    for folder in [variants, golden, small]:
        folder.mkdir(exist_ok=True)
    make_variants(HERE / "photos" / "cat_451x300.jpg", variants)
    for path in sorted([*(HERE / "photos").iterdir(), *variants.iterdir()]):
        prepare(path).save(golden / f"{path.parent.name}_{path.name.replace('.', '_')}.png", optimize=True)
    references = kinds.make(HERE / "photos" / "cat_451x300.jpg", small)
    for path, reference in references.items():
        prepare(reference, KINDS_SIZE, KINDS_PADDING).save(f"{path}.golden.png", optimize=True)


if __name__ == "__main__":
    main()
