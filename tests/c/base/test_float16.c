/* Every float16 number becomes the float32 number with the same value, with and without special
 * instructions of the processor. Numbers that are not finite are found at any position. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/finite.h"
#include "base/float16.h"
#include "check.h"

enum { ALL = 1 << 16, GUARD = 8 };

static uint16_t halves[ALL];
static float wide[ALL];

typedef void (*widen_fn)(float *to, const uint16_t *from, size_t n);

/* Return the value by its definition. */
static double value_of(uint16_t half) {
    const int exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    const double size =
        exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    return half >> 15 ? -size : size;
}

static bool is_right(uint16_t half, float found) {
    const bool largest = (half & 0x7c00) == 0x7c00;
    if (largest && (half & 0x3ff)) return isnan(found);
    if (!!signbit(found) != half >> 15) return false; /* also for zeros */
    return largest ? isinf(found) : (double)found == value_of(half);
}

static void all_numbers(widen_fn widen) {
    int wrong = 0;
    for (int i = 0; i < ALL; i++) halves[i] = (uint16_t)i;
    widen(wide, halves, ALL);
    for (int i = 0; i < ALL; i++) wrong += !is_right(halves[i], wide[i]);
    CHECK(wrong == 0);
}

static bool are_same(const float *a, const float *b, size_t n) {
    return memcmp(a, b, n * sizeof *a) == 0;
}

/* Any length from any position, and not one number more. */
static void any_piece(widen_fn widen) {
    static float expected[ALL];
    float out[64 + GUARD];
    bird_widen_portable(expected, halves, ALL);
    for (size_t first = 0x3be; first < 0x3be + 9; first++)
        for (size_t n = 0; n <= 64; n++) {
            for (size_t i = 0; i < 64 + GUARD; i++) out[i] = 7;
            widen(out, halves + first, n);
            CHECK(are_same(out, expected + first, n));
            for (size_t i = n; i < n + GUARD; i++) CHECK(out[i] == 7);
        }
}

/* NaN and infinity at any position of `n` numbers, on `n_threads` threads. */
static void finite(size_t n, int n_threads) {
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    const uint16_t bad16[] = {0x7e00, 0xfc01, 0x7c00, 0xfc00};
    const size_t places[] = {0, 1, n / 2, n - 2, n - 1};
    float *values = malloc(n * sizeof *values);
    uint16_t *values16 = malloc(n * sizeof *values16);
    for (size_t i = 0; i < n; i++) {
        values[i] = i % 2 ? 3.4e38f : -1e-45f;
        values16[i] = i % 2 ? 0x7bff : 0x8001;
    }
    CHECK(bird_all_finite(values, n, n_threads));
    CHECK(bird_all_finite16(values16, n, n_threads));
    for (size_t p = 0; p < 5; p++)
        for (size_t b = 0; b < 4; b++) {
            const float was = values[places[p]];
            const uint16_t was16 = values16[places[p]];
            values[places[p]] = bad[b];
            values16[places[p]] = bad16[b];
            CHECK(!bird_all_finite(values, n, n_threads));
            CHECK(!bird_all_finite16(values16, n, n_threads));
            values[places[p]] = was;
            values16[places[p]] = was16;
        }
    free(values);
    free(values16);
}

int main(void) {
    const size_t counts[] = {2, 3, 4097, 300001};
    const widen_fn widens[] = {bird_widen, bird_widen_portable};
    for (size_t i = 0; i < 2; i++) {
        all_numbers(widens[i]);
        any_piece(widens[i]);
    }
    CHECK(bird_all_finite(NULL, 0, 1) && bird_all_finite16(NULL, 0, 2));
    for (size_t i = 0; i < 4; i++)
        for (int n_threads = 1; n_threads <= 3; n_threads++) finite(counts[i], n_threads);
    return check_failures;
}
