"""Makes the picture variants and the golden prepared pictures with Pillow, the reference for decoding and resizing.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install pillow==13.0.0
    /tmp/golden/bin/python tests/data/make_golden.py

Reads photos/. Writes variants/ (other formats, colour spaces and orientations of one photo) and golden/ (what the
default model's preprocessing makes of each picture, as lossless PNG), recipes/ (what preprocessing with other filters,
crops and shapes makes of one picture), and, with the help of kinds.py, kinds/: small files of rarer kinds, each with
what the default model's preprocessing makes of it in 64x64. The tests compare the server's own decoder and resize
with these.
"""
from pathlib import Path

from PIL import Image, ImageOps

import kinds

HERE = Path(__file__).parent
SIZE, PADDING = 224, 32
KINDS_SIZE, KINDS_PADDING = 64, 8
# Name: filter, width and height of the result, padding of the central square or None for the whole picture.
RECIPES = {
    "bilinear_central_96x96": (Image.BILINEAR, (96, 96), 12),
    "bilinear_whole_64x128": (Image.BILINEAR, (64, 128), None),
    "bicubic_whole_160x90": (Image.BICUBIC, (160, 90), None),
    "lanczos_central_96x96": (Image.LANCZOS, (96, 96), 12),
    "lanczos_central_120x80": (Image.LANCZOS, (120, 80), 16),
    "lanczos_whole_600x200": (Image.LANCZOS, (600, 200), None),
}
# EXIF: little-endian TIFF, one entry in IFD0: tag 0x0112 (orientation), type SHORT, count 1.
ORIENTATION_TAG = 0x0112


def prepare(path, shape=(SIZE, SIZE), padding=PADDING, resample=Image.BICUBIC):
    """The upright picture, antialiased: its central square of side min(h, w) * size / (size + padding), where size is
    the smaller side of the shape; or, without a padding, all of it."""
    with Image.open(path) as file:
        picture = ImageOps.exif_transpose(file).convert("RGB")
    if padding is None:
        return picture.resize(shape, resample)
    width, height = picture.size
    side = min(shape) * min(width, height) // (min(shape) + padding)
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    return picture.resize(shape, resample, box=(left, top, left + side, top + side))


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
    variants, golden, recipes, small = HERE / "variants", HERE / "golden", HERE / "recipes", HERE / "kinds"
    for folder in [variants, golden, recipes, small]:
        folder.mkdir(exist_ok=True)
    make_variants(HERE / "photos" / "cat_451x300.jpg", variants)
    for path in sorted([*(HERE / "photos").iterdir(), *variants.iterdir()]):
        prepare(path).save(golden / f"{path.parent.name}_{path.name.replace('.', '_')}.png", optimize=True)
    for name, (resample, shape, padding) in RECIPES.items():
        prepare(variants / "cat.png", shape, padding, resample).save(recipes / f"{name}.png", optimize=True)
    references = kinds.make(HERE / "photos" / "cat_451x300.jpg", small)
    for path, reference in references.items():
        prepare(reference, (KINDS_SIZE, KINDS_SIZE), KINDS_PADDING).save(f"{path}.golden.png", optimize=True)


if __name__ == "__main__":
    main()
