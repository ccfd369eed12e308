#include "image/gif_scan.h"

#include <string.h>

#include "image/bytes.h"

enum { EXTENSION = 0x21, FRAME = 0x2C, GRAPHIC_CONTROL = 0xF9, MAX_CODES = 4096 };

/* The sub-blocks of a frame's data as a stream of bits, least significant bit first. */
typedef struct bits {
    const uint8_t *at, *end; /* borrowed: the file */
    size_t in_block;         /* bytes left in the current sub-block */
    uint32_t buffer;
    int count;
} bits;

/* Return the next code, or -1 at the end of the data. */
static int take(bits *in, int n) {
    uint32_t code;
    while (in->count < n) {
        if (in->in_block == 0) {
            if (in->at >= in->end || *in->at == 0) return -1;
            in->in_block = *in->at++;
        }
        if (in->at >= in->end) return -1;
        in->buffer |= (uint32_t)*in->at++ << in->count;
        in->count += 8;
        in->in_block--;
    }
    code = in->buffer & ((1u << n) - 1);
    in->buffer >>= n;
    in->count -= n;
    return (int)code;
}

/* Follow the LZW codes, counting pixels instead of writing them. */
static bird_status walk_pixels(bits *in, int first_bits, uint64_t n_pixels, bird_error *err) {
    uint32_t length[MAX_CODES]; /* length of the string of each code */
    const int clear = 1 << first_bits;
    int width = first_bits + 1, next = clear + 2, old = -1;
    uint64_t done = 0;
    for (int i = 0; i < clear; i++) length[i] = 1;
    while (done < n_pixels) {
        int code = take(in, width);
        if (code < 0)
            return bird_fail(err, BIRD_FORMAT, "truncated GIF: data ends after %llu of %llu pixels",
                             (unsigned long long)done, (unsigned long long)n_pixels);
        if (code == clear) {
            width = first_bits + 1;
            next = clear + 2;
            old = -1;
            continue;
        }
        if (code == clear + 1 || code > next || (code == next && (old < 0 || next == MAX_CODES)))
            return bird_fail(err, BIRD_FORMAT, "damaged GIF: bad code after %llu of %llu pixels",
                             (unsigned long long)done, (unsigned long long)n_pixels);
        if (old >= 0 && next < MAX_CODES) {
            length[next++] = length[old] + 1;
            if (next == 1 << width && width < 12) width++;
        }
        done += length[code];
        old = code;
    }
    return BIRD_OK;
}

static bird_status read_frame(bird_image_info *info, const uint8_t *at, const uint8_t *end,
                              bool has_palette, bird_error *err) {
    bits in = {.end = end};
    if (end - at < 10) return bird_fail(err, BIRD_FORMAT, "truncated GIF");
    if (bird_le16(at) != 0 || bird_le16(at + 2) != 0 || bird_le16(at + 4) != info->width ||
        bird_le16(at + 6) != info->height)
        return bird_fail(err, BIRD_UNSUPPORTED, "GIF whose first frame is not the whole image");
    if (at[8] & 0x80) {
        size_t palette = (size_t)3 << ((at[8] & 7) + 1);
        if ((size_t)(end - at) < 10 + palette)
            return bird_fail(err, BIRD_FORMAT, "truncated GIF: it ends inside a palette");
        at += palette;
    } else if (!has_palette) {
        return bird_fail(err, BIRD_UNSUPPORTED, "GIF without a palette");
    }
    if (at[9] < 1 || at[9] > 8)
        return bird_fail(err, BIRD_UNSUPPORTED, "GIF with codes of %d bits", at[9]);
    in.at = at + 10;
    return walk_pixels(&in, at[9], info->width * info->height, err);
}

/* Return the end of the extension whose introducer ends at `at`, or NULL if the file ends first. */
static const uint8_t *behind_extension(bird_image_info *info, const uint8_t *at,
                                       const uint8_t *end) {
    if (end - at < 2) return NULL;
    if (*at++ == GRAPHIC_CONTROL && end - at >= 5 && at[0] == 4 && (at[1] & 1))
        info->channels = 4; /* one colour is transparent */
    for (;;) {
        size_t length;
        if (at >= end) return NULL;
        length = *at++;
        if (length == 0) return at;
        if ((size_t)(end - at) < length) return NULL;
        at += length;
    }
}

bird_status bird_gif_scan(bird_image_info *info, const uint8_t *data, size_t size,
                          bird_error *err) {
    const uint8_t *at = data + 13, *end = data + size;
    bird_status status;
    bool has_palette;
    info->format = "GIF";
    info->channels = 3;
    if (size < 14) return bird_fail(err, BIRD_FORMAT, "truncated GIF: %zu bytes", size);
    info->width = bird_le16(data + 6);
    info->height = bird_le16(data + 8);
    /* stb_image allocates, per pixel, 4 bytes for the image, 4 for a background and 1 for a mark;
     * our result takes 4 more. */
    info->decode_bytes = info->width * info->height * (9 + 4);
    status = bird_image_check_pixels(info, err);
    if (status == BIRD_OK) status = bird_image_check_memory(info, err);
    if (status != BIRD_OK) return status;
    has_palette = data[10] & 0x80;
    if (has_palette) {
        size_t palette = (size_t)3 << ((data[10] & 7) + 1);
        if (size - 13 < palette)
            return bird_fail(err, BIRD_FORMAT, "truncated GIF: it ends inside a palette");
        at += palette;
    }
    while (at && at < end) {
        if (*at == FRAME) return read_frame(info, at + 1, end, has_palette, err);
        if (*at != EXTENSION)
            return bird_fail(err, BIRD_FORMAT, "damaged GIF: an image is missing");
        at = behind_extension(info, at + 1, end);
    }
    return bird_fail(err, BIRD_FORMAT, "truncated GIF: it ends before its first frame");
}
