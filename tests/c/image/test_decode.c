/* Decoding: every format, every truncation, damaged PNGs, limits, orientation, alpha, and every
 * allocation that can fail. */
#include "image/decode.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "check.h"
#include "image/exif.h"
#include "image/preprocess.h"
#include "pictures.h"

static bool is(const picture *p, const char *kind) {
    return strncmp(p->name, kind, strlen(kind)) == 0;
}

static void whole_files(void) {
    for (int i = 0; i < N_PICTURES; i++) {
        bird_image image;
        CHECK_OK(bird_decode(&image, pictures[i].data, pictures[i].size, err));
        CHECK(image.width == pictures[i].width && image.height == pictures[i].height);
        bird_image_deinit(&image);
    }
}

/* Decode the first n bytes, in a block of that size. */
static bird_status decode_part(const picture *p, size_t n) {
    bird_image image;
    uint8_t *part = malloc(n ? n : 1);
    memcpy(part, p->data, n);
    bird_status status = bird_decode(&image, part, n, NULL);
    bird_image_deinit(&image);
    free(part);
    return status;
}

static void every_truncation_is_refused(void) {
    for (int i = 0; i < N_PICTURES; i++) {
        size_t end = pictures[i].size;
        /* Data after the first frame of a GIF may be missing: its last two bytes, the byte of the
         * end code and the empty sub-block. */
        if (is(&pictures[i], "gif")) end -= 4;
        for (size_t n = 0; n < end; n++) CHECK(decode_part(&pictures[i], n) != BIRD_OK);
    }
}

static void flipped_bytes_of_a_png_are_refused(void) {
    for (int i = 0; i < N_PICTURES; i++) {
        uint8_t copy[4096];
        bird_image image;
        if (!is(&pictures[i], "png")) continue;
        memcpy(copy, pictures[i].data, pictures[i].size);
        for (size_t at = 0; at < pictures[i].size; at++) {
            copy[at] ^= 0x10;
            CHECK(bird_decode(&image, copy, pictures[i].size, NULL) != BIRD_OK);
            copy[at] ^= 0x10;
        }
    }
}

/* A cut JPEG with an end marker added, as recovery tools do. */
static void cut_jpegs_with_an_end_marker_are_refused(void) {
    for (int i = 0; i < N_PICTURES; i++) {
        const picture *p = &pictures[i];
        if (!is(p, "jpeg")) continue;
        for (size_t cut = 3; cut < 60 && cut < p->size / 2; cut++) {
            uint8_t copy[4096];
            bird_image image;
            size_t size = p->size - cut;
            memcpy(copy, p->data, size);
            copy[size - 2] = 0xFF;
            copy[size - 1] = 0xD9;
            CHECK(bird_decode(&image, copy, size, NULL) != BIRD_OK);
            bird_image_deinit(&image);
        }
    }
}

static void huge_headers_are_refused(void) {
    uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R',
                     0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60, 8, 2, 0, 0, 0, 0x5E, 0x75, 0x28, 0xB7};
    uint8_t jpeg[sizeof jpeg_baseline];
    bird_image image;
    bird_error err;
    memcpy(jpeg, jpeg_baseline, sizeof jpeg);
    for (size_t i = 0; i + 8 < sizeof jpeg; i++)
        if (jpeg[i] == 0xFF && jpeg[i + 1] == 0xC0) memcpy(jpeg + i + 5, "\xEA\x60\xEA\x60", 4);
    CHECK(bird_decode(&image, jpeg, sizeof jpeg, &err) == BIRD_FORMAT);
    CHECK(strstr(err.message, "60000x60000") != NULL);
    CHECK(bird_decode(&image, png, sizeof png, &err) == BIRD_FORMAT);
    bird_image_info info = {.format = "PNG", .width = 0xFFFFFFFF, .height = 0xFFFFFFFF};
    CHECK(bird_image_check_pixels(&info, &err) == BIRD_FORMAT);
    info = (bird_image_info){.format = "GIF", .width = 16000, .height = 12000};
    info.decode_bytes = 13 * info.width * info.height;
    CHECK(bird_image_check_pixels(&info, &err) == BIRD_OK);
    CHECK(bird_image_check_memory(&info, &err) == BIRD_FORMAT);
    info.decode_bytes = 6 * info.width * info.height;
    CHECK(bird_image_check_memory(&info, &err) == BIRD_OK);
}

static void composite_is_exact(void) {
    for (int c = 0; c < 256; c++) {
        for (int a = 0; a < 256; a++) {
            uint8_t rgba[4] = {(uint8_t)c, (uint8_t)c, (uint8_t)c, (uint8_t)a}, rgb[3];
            int x = c * a + 255 * (255 - a);
            bird_on_white(rgb, rgba, 1);
            CHECK(rgb[0] == (2 * x + 255) / 510 && rgb[0] == rgb[1] && rgb[1] == rgb[2]);
        }
    }
}

/* Pixel values 0..5 of a 2 x 3 image, upright by the EXIF standard. */
static void orientations(void) {
    static const uint8_t wanted[9][6] = {
        {0}, {0, 1, 2, 3, 4, 5}, {2, 1, 0, 5, 4, 3}, {5, 4, 3, 2, 1, 0}, {3, 4, 5, 0, 1, 2},
        {0, 3, 1, 4, 2, 5}, {3, 0, 4, 1, 5, 2}, {5, 2, 4, 1, 3, 0}, {2, 5, 1, 4, 0, 3}};
    for (int orientation = 1; orientation <= 8; orientation++) {
        bird_image image = {bird_alloc(18), 3, 2};
        for (int i = 0; i < 18; i++) image.pixels[i] = (uint8_t)(i / 3);
        CHECK_OK(bird_image_orient(&image, orientation, err));
        CHECK(image.width == (orientation < 5 ? 3u : 2u));
        for (int i = 0; i < 6; i++) CHECK(image.pixels[3 * i + 2] == wanted[orientation][i]);
        bird_image_deinit(&image);
    }
}

static void damaged_exif_is_no_orientation(void) {
    uint8_t tiff[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0};
    CHECK(bird_exif_orientation(tiff, sizeof tiff) == 6);
    for (size_t n = 0; n < sizeof tiff; n++) CHECK(bird_exif_orientation(tiff, n) == 1);
    tiff[13] = 9; /* SLONG */
    CHECK(bird_exif_orientation(tiff, sizeof tiff) == 1); /* 0x60000 */
    memcpy(tiff + 14, "\0\0\0\2\0\0\0\x0e", 8); /* two of them, from the count itself: 2 and 14 */
    CHECK(bird_exif_orientation(tiff, sizeof tiff) == 2);
    tiff[21] = 15; /* the second would end behind the data */
    CHECK(bird_exif_orientation(tiff, sizeof tiff) == 1);
    memset(tiff + 14, 0xFF, 8);
    CHECK(bird_exif_orientation(tiff, sizeof tiff) == 1);
    memcpy(tiff + 12, "\0\3\0\0\0\1\0\x09\0\0", 10);
    CHECK(bird_exif_orientation(tiff, sizeof tiff) == 1);
    CHECK(bird_exif_orientation(NULL, 0) == 1);
}

static bird_status decode_and_prepare(const picture *p, bird_error *err) {
    static const bird_preprocess cfg = {.size = 8, .crop_pct = 1, .std = {1, 1, 1}};
    float slot[3 * 8 * 8];
    bird_image image;
    bird_status status = bird_decode(&image, p->data, p->size, err);
    if (status == BIRD_OK) status = bird_preprocess_image(slot, &image, &cfg, err);
    bird_image_deinit(&image);
    return status;
}

static void every_allocation_may_fail(void) {
    for (int i = 0; i < N_PICTURES; i++) {
        bird_status status = BIRD_NOMEM;
        long n = 0;
        while (status != BIRD_OK && n < 1000) {
            bird_error err = {0};
            bird_alloc_fail_at(++n);
            status = decode_and_prepare(&pictures[i], &err);
            CHECK(status == BIRD_OK || status == BIRD_NOMEM);
        }
        bird_alloc_fail_at(0);
        CHECK(status == BIRD_OK && n > 3);
    }
}

int main(void) {
    whole_files();
    every_truncation_is_refused();
    flipped_bytes_of_a_png_are_refused();
    cut_jpegs_with_an_end_marker_are_refused();
    huge_headers_are_refused();
    composite_is_exact();
    orientations();
    damaged_exif_is_no_orientation();
    every_allocation_may_fail();
    return check_failures;
}
