/* Mutated pictures through one decoder: fuzz_images SECONDS SEED TARGET [FILE].
 *
 * SECONDS of CPU. TARGET begins the names of the pictures it starts from ("jpeg", "png", "gif",
 * "bmp"), or is "inflate". What decodes joins those, so that mutations add up. An input that
 * crashes, that a sanitizer complains about or that takes more than LIMIT seconds of CPU time is
 * written to FILE, which `fuzz_images 0 0 TARGET FILE` runs again. Built by tests/fuzz/__main__.py,
 * under AddressSanitizer or, by clang, MemorySanitizer. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../c/pictures.h"
#include "image/decode.h"
#include "image/inflate.h"
#include "image/preprocess.h"
#include "mutate.h"

enum { POOL = 64, LARGEST = 4096, LIMIT = 20 };

typedef struct sample {
    uint8_t data[LARGEST];
    size_t size;
} sample;

static sample pool[POOL], tried;
static int n_pool, n_seeds;
static const char *kept = "fuzz_images.input";
static volatile unsigned seen; /* every byte that comes out is looked at */

void __sanitizer_set_death_callback(void (*callback)(void));

static void keep(void) {
    FILE *file = fopen(kept, "wb");
    if (!file) return;
    (void)fwrite(tried.data, 1, tried.size, file);
    fclose(file);
    fprintf(stderr, "fuzz_images: the input is in %s\n", kept);
}

static void too_long(int signal_number) {
    (void)signal_number;
    fprintf(stderr, "fuzz_images: more than %d s of CPU time for one input\n", LIMIT);
    keep();
    _exit(1);
}

static void look_at(const uint8_t *bytes, size_t n) {
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) sum += bytes[i];
    if (sum % 2) seen++;
}

static bool decode(const uint8_t *data, size_t size) {
    static const bird_preprocess cfg = {.size = 9, .fit = BIRD_SHORTEST, .crop_pct = 0.9,
                                        .filter = BIRD_BICUBIC, .std = {1, 1, 1}};
    float slot[3 * 9 * 9];
    bird_image image;
    bird_error err;
    if (bird_decode(&image, data, size, &err) != BIRD_OK) return false;
    look_at(image.pixels, 3 * (size_t)image.width * (size_t)image.height);
    if (bird_preprocess_image(slot, &image, &cfg, &err) == BIRD_OK)
        look_at((const uint8_t *)slot, sizeof slot);
    bird_image_deinit(&image);
    return true;
}

static bool inflate(const uint8_t *data, size_t size) {
    bird_error err;
    bool whole = false;
    size_t n = LARGEST * 4, m;
    uint8_t *out = malloc(n);
    n = bird_inflate_some(out, n, data, size);
    look_at(out, n);
    free(out);
    m = n / 2;
    for (int i = 0; i < 3; i++, m = i == 1 ? n : n + 1) {
        out = malloc(m > 0 ? m : 1);
        if (bird_inflate(out, m, data, size, &err) == BIRD_OK) {
            look_at(out, m);
            whole = true;
        }
        free(out);
    }
    return whole;
}

/* A block of just the size, so that the sanitizer sees a read beyond it. */
static bool run(const char *target) {
    uint8_t *exact = malloc(tried.size ? tried.size : 1);
    bool whole;
    memcpy(exact, tried.data, tried.size);
    whole = strcmp(target, "inflate") == 0 ? inflate(exact, tried.size)
                                           : decode(exact, tried.size);
    free(exact);
    return whole;
}

static void add(const uint8_t *data, size_t size) {
    memcpy(pool[n_pool].data, data, size);
    pool[n_pool++].size = size;
}

static void begin_with(const char *target) {
    for (int p = 0; p < N_PICTURES; p++) {
        const picture *from = &pictures[p];
        if (strncmp(from->name, target, strlen(target)) == 0) add(from->data, from->size);
        if (strcmp(target, "inflate") != 0 || strncmp(from->name, "png", 3) != 0) continue;
        for (size_t at = 8; at + 12 <= from->size; at += read32(from->data + at) + 12)
            if (memcmp(from->data + at + 4, "IDAT", 4) == 0)
                add(from->data + at + 8, read32(from->data + at));
    }
    n_seeds = n_pool;
}

static void next_input(uint32_t *state) {
    const sample *from = &pool[next_random(state) % (uint32_t)n_pool];
    tried = *from;
    tried.size = mutate(tried.data, tried.size, state);
    if (next_random(state) % 2 == 0) return;
    if (tried.data[0] == 0x89)
        mend_png(tried.data, tried.size);
    else if (tried.data[0] == 0x78)
        mend_zlib(tried.data, tried.size);
}

static void join_pool(uint32_t *state) {
    uint32_t at = next_random(state) % POOL;
    if (tried.size + MUTATE_ROOM > LARGEST || next_random(state) % 8 > 0) return;
    if (n_pool < POOL)
        pool[n_pool++] = tried;
    else if (at >= (uint32_t)n_seeds)
        pool[at] = tried;
}

int main(int argc, char **argv) {
    const double seconds = argc > 3 ? atof(argv[1]) : 0;
    const struct itimerval limit = {.it_value = {.tv_sec = LIMIT}};
    unsigned long rounds = 0, whole = 0;
    uint32_t state = argc > 3 ? 0x9E3779B9u + (uint32_t)atoi(argv[2]) : 0;
    if (argc > 4) kept = argv[4];
    if (argc > 3) begin_with(argv[3]);
    if (n_pool == 0) {
        fprintf(stderr, "fuzz_images SECONDS SEED jpeg|png|gif|bmp|inflate [FILE]\n");
        return 2;
    }
    if (seconds <= 0) {
        FILE *file = fopen(kept, "rb");
        if (!file) return 2;
        tried.size = fread(tried.data, 1, sizeof tried.data, file);
        fclose(file);
        (void)run(argv[3]);
        return 0;
    }
    __sanitizer_set_death_callback(keep);
    signal(SIGPROF, too_long);
    while ((double)clock() / CLOCKS_PER_SEC < seconds) {
        next_input(&state);
        /* CPU time: on a busy machine an input may have to wait for longer than it runs. */
        if (rounds % 64 == 0) setitimer(ITIMER_PROF, &limit, NULL);
        if (run(argv[3])) {
            whole++;
            join_pool(&state);
        }
        rounds++;
    }
    printf("%s, seed %s: %lu inputs, %lu decoded, %.0f s of CPU\n", argv[3], argv[2], rounds, whole,
           (double)clock() / CLOCKS_PER_SEC);
    return 0;
}
