/* splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014):
 * a counter followed by a mixing function. Its state has 64 bits, which is enough for the few
 * hundred numbers needed per sample. */
#include "base/rng.h"

#include <math.h>

/* 2^64 / golden ratio, made odd. */
static const uint64_t GAMMA = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

bird_rng bird_rng_stream(uint64_t seed, bird_stream purpose, uint64_t epoch, uint64_t index) {
    /* Mix one number after the other, so that (1, 2) and (2, 1) give unrelated streams. */
    uint64_t state = mix(seed + GAMMA);
    state = mix(state + (uint64_t)purpose * GAMMA);
    state = mix(state + (epoch + 1) * GAMMA);
    state = mix(state + (index + 1) * GAMMA);
    return (bird_rng){state};
}

uint64_t bird_rng_next(bird_rng *rng) {
    rng->state += GAMMA;
    return mix(rng->state);
}

double bird_rng_uniform(bird_rng *rng, double low, double high) {
    return low + (high - low) * ((double)(bird_rng_next(rng) >> 11) * 0x1p-53);
}

uint64_t bird_rng_below(bird_rng *rng, uint64_t n) {
    /* The first 2^64 mod n values would make some remainders more likely than others. */
    uint64_t unfair = (0 - n) % n, bits;
    do bits = bird_rng_next(rng);
    while (bits < unfair);
    return bits % n;
}

/* Return a number in (0, 1], so that its logarithm is finite. */
static double above_zero(bird_rng *rng) {
    return 1.0 - bird_rng_uniform(rng, 0.0, 1.0);
}

/* Return a normally distributed number, by the polar method of Marsaglia; its second number is
 * discarded. */
static double normal(bird_rng *rng) {
    double x, y, square;
    do {
        x = bird_rng_uniform(rng, -1.0, 1.0);
        y = bird_rng_uniform(rng, -1.0, 1.0);
        square = x * x + y * y;
    } while (square >= 1.0 || square == 0.0);
    return x * sqrt(-2.0 * log(square) / square);
}

/* Return a gamma variate for alpha > 1: Marsaglia and Tsang, "A simple method for generating gamma
 * variables", 2000. */
static double gamma_above_one(bird_rng *rng, double alpha) {
    double d = alpha - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        double x = normal(rng), v = 1.0 + c * x;
        if (v <= 0.0) continue;
        v = v * v * v;
        if (log(above_zero(rng)) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
    }
}

double bird_rng_beta(bird_rng *rng, double alpha) {
    if (alpha > 1.0) {
        double a = gamma_above_one(rng, alpha), b = gamma_above_one(rng, alpha);
        return a / (a + b);
    }
    if (alpha < 1e-300) alpha = 1e-300; /* else the quotients below are infinite */
    /* Johnk 1964: u^(1/alpha) / (u^(1/alpha) + v^(1/alpha)) if the sum is at most 1. Computed
     * with logarithms, because for small alpha both powers are too small for a double. */
    for (;;) {
        double a = log(above_zero(rng)) / alpha, b = log(above_zero(rng)) / alpha;
        double larger = a > b ? a : b, sum = larger + log(exp(a - larger) + exp(b - larger));
        if (sum <= 0.0) return exp(a - sum);
    }
}

void bird_rng_shuffle(int64_t *numbers, size_t n, bird_rng *rng) {
    for (size_t left = n; left > 1; left--) {
        size_t pick = (size_t)bird_rng_below(rng, left);
        int64_t last = numbers[left - 1];
        numbers[left - 1] = numbers[pick];
        numbers[pick] = last;
    }
}
