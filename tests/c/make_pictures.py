"""Write tests/c/pictures.h: tiny pictures of every format for the C tests.

    python tests/c/make_pictures.py > tests/c/pictures.h

Pillow makes them from a colour gradient; nothing in them is anybody else's.
"""

import io

import numpy as np
from PIL import Image


def gradient(height, width, channels=3):
    y, x = np.mgrid[:height, :width]
    planes = [x * 9 % 256, y * 11 % 256, (x + y) * 5 % 256, 255 - (x * y) % 200]
    return np.stack(planes[:channels], axis=-1).astype(np.uint8)


def save(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def main():
    rgb = Image.fromarray(gradient(19, 27))
    rgba = Image.fromarray(gradient(9, 13, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = {
        "jpeg_baseline": save(rgb, "JPEG", quality=70, optimize=True),
        "jpeg_progressive": save(rgb, "JPEG", quality=70, progressive=True),
        "jpeg_restart": save(rgb, "JPEG", quality=70, optimize=True, restart_marker_blocks=2),
        "jpeg_grey": save(rgb.convert("L"), "JPEG", quality=60, optimize=True),
        "jpeg_cmyk": save(rgb.convert("CMYK"), "JPEG", quality=60, optimize=True),
        "jpeg_rotated": save(rgb, "JPEG", quality=70, optimize=True, exif=exif),
        "png_rgb": save(rgb, "PNG", exif=exif),
        "png_rgba": save(rgba, "PNG"),
        "png_palette": save(rgb.quantize(20), "PNG"),
        "gif": save(rgb.quantize(20), "GIF"),
        "bmp": save(Image.fromarray(gradient(7, 5)), "BMP"),
        "bmp_palette": save(Image.fromarray(gradient(7, 5)).quantize(9), "BMP"),
    }
    print("/* Written by make_pictures.py; tiny gradients in every format. */")
    print("#ifndef BIRD_TESTS_PICTURES_H\n#define BIRD_TESTS_PICTURES_H\n")
    print("#include <stddef.h>\n#include <stdint.h>\n")
    for name, data in pictures.items():
        print(f"static const uint8_t {name}[] = {{")
        for i in range(0, len(data), 20):
            print("    " + " ".join(f"{byte}," for byte in data[i : i + 20]))
        print("};\n")
    print("typedef struct picture {\n    const char *name;\n    const uint8_t *data;")
    print("    size_t size, width, height; /* upright */\n} picture;\n")
    print("static const picture pictures[] = {")
    for name, data in pictures.items():
        image = Image.open(io.BytesIO(data))
        width, height = image.size
        if image.getexif().get(0x0112) == 6:
            width, height = height, width
        print(f'    {{"{name}", {name}, sizeof {name}, {width}, {height}}},')
    print("};\n\nenum { N_PICTURES = sizeof pictures / sizeof *pictures };\n\n#endif")


if __name__ == "__main__":
    main()
