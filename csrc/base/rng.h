/* Random numbers that are the same on every machine: 64-bit integer arithmetic, state owned by
 * the caller, and separate streams for work that can run in any order.
 */
#ifndef BIRD_BASE_RNG_H
#define BIRD_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Purpose of a stream; streams for different purposes are independent. */
typedef enum bird_stream {
    BIRD_STREAM_ORDER = 1, /* of an epoch's samples */
    BIRD_STREAM_CLASS,     /* of a class's samples */
    BIRD_STREAM_AUGMENT,   /* of one sample's view */
    BIRD_STREAM_MIX        /* of one sample's mixup or cutmix */
} bird_stream;

typedef struct bird_rng {
    uint64_t state;
} bird_rng;

/* Return the stream for these numbers. */
bird_rng bird_rng_stream(uint64_t seed, bird_stream purpose, uint64_t epoch, uint64_t index);

/* 64 random bits. */
uint64_t bird_rng_next(bird_rng *rng);

/* Uniform in [low, high); exact multiples of 2^-53 of the range. */
double bird_rng_uniform(bird_rng *rng, double low, double high);

/* Uniform in 0 .. n-1, every number equally likely; n at least 1. */
uint64_t bird_rng_below(bird_rng *rng, uint64_t n);

/* Beta(alpha, alpha), alpha above 0. Uses log, exp and pow of libm, so the last bit may differ. */
double bird_rng_beta(bird_rng *rng, double alpha);

/* Shuffle n numbers in place, every order equally likely. */
void bird_rng_shuffle(int64_t *numbers, size_t n, bird_rng *rng);

#endif
