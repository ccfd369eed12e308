#include "image/image.h"

#include <inttypes.h>

#include "base/alloc.h"

void bird_image_deinit(bird_image *image) {
    bird_free(image->pixels);
    image->pixels = NULL;
    image->width = image->height = 0;
}

void bird_image_mirror(bird_image *image) {
    for (size_t y = 0; y < image->height; y++) {
        uint8_t *left = image->pixels + y * image->width * 3, *right = left + image->width * 3;
        for (right -= 3; left < right; left += 3, right -= 3) {
            for (int c = 0; c < 3; c++) {
                uint8_t kept = left[c];
                left[c] = right[c];
                right[c] = kept;
            }
        }
    }
}

bird_status bird_image_check_pixels(const bird_image_info *info, bird_error *err) {
    uint64_t width = info->width, height = info->height;
    if (width == 0 || height == 0)
        return bird_fail(err, BIRD_FORMAT, "%s header says %" PRIu64 "x%" PRIu64 " pixels",
                         info->format, width, height);
    /* Divide, because the product of two 32-bit numbers of a malicious header may overflow. */
    if (width > BIRD_MAX_PIXELS / height)
        return bird_fail(err, BIRD_FORMAT,
                         "%s header says %" PRIu64 "x%" PRIu64
                         " pixels, more than the limit of %" PRIu64 " million",
                         info->format, width, height, BIRD_MAX_PIXELS / 1000000);
    return BIRD_OK;
}

bird_status bird_image_check_memory(const bird_image_info *info, bird_error *err) {
    if (info->decode_bytes > BIRD_MAX_DECODE_BYTES)
        return bird_fail(err, BIRD_FORMAT,
                         "%s of %" PRIu64 "x%" PRIu64 " pixels would need %" PRIu64
                         " MB to decode, more than the limit of %" PRIu64,
                         info->format, info->width, info->height, info->decode_bytes >> 20,
                         BIRD_MAX_DECODE_BYTES >> 20);
    return BIRD_OK;
}
