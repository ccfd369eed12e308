/* Random numbers that are the same on every machine: 64-bit integer arithmetic, state owned by the
 * caller, and separate streams for work that can run in any order.
 */
#ifndef BIRD_BASE_RNG_H
#define BIRD_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Purpose of a stream; streams for different purposes are independent. */
typedef enum bird_stream {
    BIRD_STREAM_ORDER = 1, /* order of the samples of an epoch */
    BIRD_STREAM_CLASS,     /* order of the samples of a class */
    BIRD_STREAM_AUGMENT,   /* view of one sample */
    BIRD_STREAM_MIX        /* mixup or cutmix of one sample */
} bird_stream;

typedef struct bird_rng {
    uint64_t state;
} bird_rng;

/* Return the stream for these numbers. */
bird_rng bird_rng_stream(uint64_t seed, bird_stream purpose, uint64_t epoch, uint64_t index);

/* Return 64 random bits. */
uint64_t bird_rng_next(bird_rng *rng);

/* Return a number uniform in [low, high); an exact multiple of 2^-53 of the range. */
double bird_rng_uniform(bird_rng *rng, double low, double high);

/* Return a number in 0 .. n-1, every one equally likely; n is at least 1. */
uint64_t bird_rng_below(bird_rng *rng, uint64_t n);

/* Return a number with distribution Beta(alpha, alpha), alpha above 0. Uses log, exp and pow of
 * libm, so the last bit may differ between machines. */
double bird_rng_beta(bird_rng *rng, double alpha);

/* Shuffle n numbers in place; every order is equally likely. */
void bird_rng_shuffle(int64_t *numbers, size_t n, bird_rng *rng);

#endif
