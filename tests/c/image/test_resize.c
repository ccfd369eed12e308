/* Resizing, beyond the comparison with Pillow: windows, both kernels, memory. */
#include "image/resize.c" /* for its static functions; the copy in the archive is then not linked */

#include <stdlib.h>

#include "check.h"

static uint8_t *noise(size_t height, size_t width) {
    uint32_t state = 1;
    uint8_t *image = malloc(height * width * 3);
    for (size_t i = 0; i < height * width * 3; i++) {
        state = state * 1664525u + 1013904223u;
        image[i] = (uint8_t)(state >> 24);
    }
    return image;
}

/* A window is bit-for-bit the same as a crop of the whole. */
static void windows(size_t h, size_t w, size_t to_h, size_t to_w, bird_filter filter) {
    uint8_t *image = noise(h, w), *whole = malloc(to_h * to_w * 3), *part = malloc(to_h * to_w * 3);
    bird_window all = {0, 0, to_w, to_h};
    CHECK_OK(bird_resize(whole, image, h, w, to_h, to_w, all, filter, err));
    for (size_t x = 0; x < to_w; x += 3) {
        size_t y = x % to_h;
        bird_window window = {x, y, (to_w - x + 1) / 2, (to_h - y + 1) / 2};
        CHECK_OK(bird_resize(part, image, h, w, to_h, to_w, window, filter, err));
        for (size_t row = 0; row < window.height; row++)
            CHECK(memcmp(part + row * window.width * 3, whole + ((y + row) * to_w + x) * 3,
                         window.width * 3) == 0);
    }
    free(image);
    free(whole);
    free(part);
}

static void flat_stays_flat(void) {
    uint8_t image[50 * 40 * 3], small[7 * 9 * 3];
    memset(image, 201, sizeof image);
    for (int filter = BIRD_BILINEAR; filter <= BIRD_BICUBIC; filter++) {
        bird_window all = {0, 0, 9, 7};
        CHECK_OK(bird_resize(small, image, 50, 40, 7, 9, all, (bird_filter)filter, err));
        for (size_t i = 0; i < sizeof small; i++) CHECK(small[i] == 201);
    }
}

static void kernels_agree(void) {
    uint8_t *image = noise(64, 300);
    uint8_t fast[300 * 3], plain[300 * 3];
    int32_t first[50], wide[50 * 16 * 3], sums[300 * 3], weights[64];
    kernels kernel = choose_kernels();
    for (int i = 0; i < 50 * 16 * 3; i++) wide[i] = (i * 7919 % 600001) - 150000;
    for (int i = 0; i < 50; i++) first[i] = i * 5;
    for (int i = 0; i < 64; i++) weights[i] = (i * 7919 % 200001) - 50000;
    for (size_t length = STEP; length <= 16; length += STEP) {
        kernel.row(fast, image, first, wide, length, 50);
        resize_row_plain(plain, image, first, wide, length, 50);
        CHECK(memcmp(fast, plain, 150) == 0);
    }
    kernel.rows(fast, image, 900, 900, weights, 64, sums);
    mix_rows_plain(plain, image, 900, 900, weights, 64, sums);
    CHECK(memcmp(fast, plain, 900) == 0);
    free(image);
}

static void every_allocation_may_fail(void) {
    uint8_t *image = noise(90, 70);
    uint8_t small[20 * 20 * 3];
    bird_window all = {0, 0, 20, 20};
    bird_status status = BIRD_NOMEM;
    for (long n = 1; status != BIRD_OK && n < 100; n++) {
        bird_alloc_fail_at(n);
        status = bird_resize(small, image, 90, 70, 20, 20, all, BIRD_BICUBIC, NULL);
        CHECK(status == BIRD_OK || status == BIRD_NOMEM);
    }
    bird_alloc_fail_at(0);
    CHECK(status == BIRD_OK);
    free(image);
}

int main(void) {
    for (int filter = BIRD_BILINEAR; filter <= BIRD_BICUBIC; filter++) {
        windows(61, 83, 20, 31, (bird_filter)filter);  /* down, columns first */
        windows(90, 40, 20, 31, (bird_filter)filter);  /* down, rows first */
        windows(13, 9, 40, 51, (bird_filter)filter);   /* up */
        windows(30, 2, 11, 24, (bird_filter)filter);   /* narrower than a step */
        windows(30, 24, 11, 24, (bird_filter)filter);  /* rows only */
        windows(30, 24, 30, 11, (bird_filter)filter);  /* columns only */
        windows(30, 24, 30, 24, (bird_filter)filter);  /* neither */
    }
    flat_stays_flat();
    kernels_agree();
    every_allocation_may_fail();
    return check_failures;
}
