/* Fuzz entry: any bytes through decode and preprocess. Build it with clang's
 * -fsanitize=fuzzer,address,undefined and the C files of csrc/image and csrc/base;
 * tests/c/image/test_fuzz_decode.c replays deterministic mutations through it without clang. */
#include <stddef.h>
#include <stdint.h>

#include "image/decode.h"
#include "image/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const bird_preprocess cfg = {.size = 9, .fit = BIRD_SHORTEST, .crop_pct = 0.9,
                                        .filter = BIRD_BICUBIC, .std = {1, 1, 1}};
    float slot[3 * 9 * 9];
    bird_image image;
    bird_error err;
    if (bird_decode(&image, data, size, &err) == BIRD_OK) {
        (void)bird_preprocess_image(slot, &image, &cfg, &err);
        bird_image_deinit(&image);
    }
    return 0;
}
