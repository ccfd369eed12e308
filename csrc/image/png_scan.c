#include "image/png_scan.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "image/bytes.h"
#include "image/inflate.h"
#include "image/png_exif.h"

enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

/* crc_tables[k][b]: CRC-32 of byte b followed by k zero bytes ("slicing by 8"). */
static uint32_t crc_tables[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void make_crc_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        crc_tables[0][byte] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t before = crc_tables[k - 1][byte];
            crc_tables[k][byte] = before >> 8 ^ crc_tables[0][before & 255];
        }
}

static uint32_t crc32_of(const uint8_t *at, size_t size) {
    uint32_t crc = 0xFFFFFFFFu;
    for (; size >= 8; size -= 8, at += 8) {
        uint32_t low = bird_le32(at) ^ crc, high = bird_le32(at + 4);
        crc = crc_tables[7][low & 255] ^ crc_tables[6][low >> 8 & 255] ^
              crc_tables[5][low >> 16 & 255] ^ crc_tables[4][low >> 24] ^
              crc_tables[3][high & 255] ^ crc_tables[2][high >> 8 & 255] ^
              crc_tables[1][high >> 16 & 255] ^ crc_tables[0][high >> 24];
    }
    for (; size > 0; size--, at++) crc = crc >> 8 ^ crc_tables[0][(crc ^ *at) & 255];
    return ~crc;
}

static bool known_depth(int colour, int depth) {
    switch (colour) {
        case GREY: return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
        case PALETTE: return depth == 1 || depth == 2 || depth == 4 || depth == 8;
        case RGB:
        case GREY_ALPHA:
        case RGB_ALPHA: return depth == 8 || depth == 16;
        default: return false;
    }
}

typedef struct walk {
    const uint8_t *data; /* borrowed: the file */
    int colour, depth;   /* colour is -1 until the header has been read */
    size_t palette_size; /* bytes of PLTE */
    size_t palette_at;   /* offset of its chunk in the file */
    size_t data_size;    /* bytes of all IDAT chunks */
    bool interlaced, transparent; /* transparent: tRNS was found */
    bool pixels;         /* IDAT was found */
} walk;

static bird_status read_header(walk *w, bird_image_info *info, const uint8_t *body,
                               uint32_t length, bird_error *err) {
    if (w->colour >= 0 || length != 13)
        return bird_fail(err, BIRD_FORMAT, "damaged PNG: bad header chunk");
    info->width = bird_be32(body);
    info->height = bird_be32(body + 4);
    w->depth = body[8];
    w->colour = body[9];
    if (!known_depth(w->colour, w->depth) || body[10] != 0 || body[11] != 0 || body[12] > 1)
        return bird_fail(err, BIRD_FORMAT, "damaged PNG: bad header (depth %d, colour type %d)",
                         w->depth, w->colour);
    if (w->colour == GREY_ALPHA || w->colour == RGB_ALPHA) info->channels = 4;
    w->interlaced = body[12] == 1;
    return bird_image_check_pixels(info, err);
}

static bird_status read_chunk(walk *w, bird_image_info *info, const uint8_t *body,
                              uint32_t length, bird_error *err) {
    const uint8_t *type = body - 4;
    if (memcmp(type, "IHDR", 4) == 0) return read_header(w, info, body, length, err);
    if (memcmp(type, "CgBI", 4) == 0)
        return bird_fail(err, BIRD_UNSUPPORTED, "PNG in Apple's variant");
    if (w->colour < 0)
        return bird_fail(err, BIRD_FORMAT, "damaged PNG: it does not start with its header");
    if (memcmp(type, "PLTE", 4) == 0) {
        if (length == 0 || length > 768 || length % 3 != 0 || w->pixels)
            return bird_fail(err, BIRD_FORMAT, "damaged PNG: bad palette");
        w->palette_size = length;
        w->palette_at = (size_t)(body - 8 - w->data);
    } else if (memcmp(type, "tRNS", 4) == 0) {
        info->channels = 4;
        w->transparent = true;
    } else if (memcmp(type, "IDAT", 4) == 0) {
        if (w->colour == PALETTE && w->palette_size == 0)
            return bird_fail(err, BIRD_FORMAT, "damaged PNG: the palette is missing");
        w->pixels = true;
        w->data_size += length;
    } else if (memcmp(type, "eXIf", 4) == 0) {
        bird_png_exif(info, body, length);
    } else if ((type[0] & 0x20) == 0) { /* lower case: may be ignored */
        return bird_fail(err, BIRD_UNSUPPORTED, "PNG with an unknown critical chunk");
    } else {
        bird_png_text_exif(info, type, body, length);
    }
    return BIRD_OK;
}

static uint64_t channels_of(int colour) {
    return colour == RGB ? 3 : colour == GREY_ALPHA ? 2 : colour == RGB_ALPHA ? 4 : 1;
}

/* Return the bytes of `height` rows, each with the byte that names its filter. */
static uint64_t bytes_of_rows(const walk *w, uint64_t width, uint64_t height) {
    if (width == 0) return 0;
    return height * (1 + (width * channels_of(w->colour) * (uint64_t)w->depth + 7) / 8);
}

/* Return the exact size of the decompressed data. */
static uint64_t raw_bytes(const walk *w, const bird_image_info *info) {
    /* Adam7: offset and step of each pass. */
    static const uint8_t x[7] = {0, 4, 0, 2, 0, 1, 0}, step_x[7] = {8, 8, 4, 4, 2, 2, 1};
    static const uint8_t y[7] = {0, 0, 4, 0, 2, 0, 1}, step_y[7] = {8, 8, 8, 4, 4, 2, 2};
    uint64_t sum = 0;
    if (!w->interlaced) return bytes_of_rows(w, info->width, info->height);
    for (int i = 0; i < 7; i++)
        sum += bytes_of_rows(w, (info->width - x[i] + step_x[i] - 1) / step_x[i],
                             (info->height - y[i] + step_y[i] - 1) / step_y[i]);
    return sum;
}

static inline uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* Return the memory that stb_image allocates: decompressed rows, samples (twice during a pass of an
 * interlaced file), palette colours, a conversion to our channels, and one from 16 bits. */
static uint64_t decode_bytes(const walk *w, const bird_image_info *info, uint64_t raw) {
    uint64_t n = info->width * info->height, sample = w->depth == 16 ? 2 : 1;
    uint64_t wanted = n * (uint64_t)info->channels;
    uint64_t in_file = channels_of(w->colour);
    uint64_t samples, peak;
    if (w->colour == PALETTE) {
        samples = n;
        peak = raw + n + wanted;
    } else {
        if (w->transparent) in_file++; /* alpha is made from one colour */
        samples = n * in_file * sample;
        peak = in_file == (uint64_t)info->channels ? samples : samples + wanted * sample;
    }
    peak = larger(peak, raw + samples * (w->interlaced ? 2 : 1));
    return sample == 2 ? larger(peak, wanted * 3) : peak;
}

static bird_status finish(const walk *w, bird_image_info *info, bird_error *err) {
    uint64_t raw;
    bird_status status;
    if (!w->pixels) return bird_fail(err, BIRD_FORMAT, "damaged PNG: it contains no image");
    raw = raw_bytes(w, info);
    if (raw > bird_inflate_limit(w->data_size))
        return bird_fail(err, BIRD_FORMAT, "truncated PNG: %zu bytes are too few for its pixels",
                         w->data_size);
    info->decode_bytes = decode_bytes(w, info, raw);
    status = bird_image_check_memory(info, err);
    if (status != BIRD_OK) return status;
    info->png_bytes = (size_t)raw;
    if (w->colour == PALETTE && w->palette_size / 3 < (size_t)1 << w->depth)
        info->short_palette = w->palette_at;
    return BIRD_OK;
}

bird_status bird_png_scan(bird_image_info *info, const uint8_t *data, size_t size,
                          bird_error *err) {
    walk w = {.data = data, .colour = -1};
    size_t at = 8; /* after the signature */
    pthread_once(&crc_once, make_crc_tables);
    info->format = "PNG";
    info->channels = 3;
    for (;;) {
        const uint8_t *chunk = data + at;
        uint32_t length;
        bird_status status;
        if (size - at < 12)
            return bird_fail(err, BIRD_FORMAT, "truncated PNG: its end chunk is missing");
        length = bird_be32(chunk);
        if (length > size - at - 12)
            return bird_fail(err, BIRD_FORMAT, "truncated PNG: a chunk of %u bytes has only %zu",
                             length, size - at - 12);
        if (crc32_of(chunk + 4, (size_t)length + 4) != bird_be32(chunk + 8 + length))
            return bird_fail(err, BIRD_FORMAT, "damaged PNG: checksum of a chunk does not match");
        if (memcmp(chunk + 4, "IEND", 4) == 0) return finish(&w, info, err);
        status = read_chunk(&w, info, chunk + 8, length, err);
        if (status != BIRD_OK) return status;
        at += (size_t)length + 12;
    }
}

bird_status bird_png_fill_palette(uint8_t **copy, size_t *copy_size, const uint8_t *data,
                                  size_t size, const bird_image_info *info, bird_error *err) {
    size_t at = info->short_palette, have = bird_be32(data + at), missing = 768 - have;
    size_t head = at + 8 + have;
    uint8_t *to = bird_alloc(size + missing);
    if (!to) return bird_fail(err, BIRD_NOMEM, "out of memory for a PNG of %zu bytes", size);
    memcpy(to, data, head);
    memset(to + head, 0, missing);
    memcpy(to + head + missing, data + head, size - head);
    /* 768 = 0x300; stb_image does not check the CRC of the chunk. */
    memcpy(to + at, (const uint8_t[]){0, 0, 3, 0}, 4);
    *copy = to;
    *copy_size = size + missing;
    return BIRD_OK;
}
