/* zlib streams (RFC 1950 and 1951), as PNGs hold them, to a block whose size is known before. */
#ifndef BIRD_IMAGE_INFLATE_H
#define BIRD_IMAGE_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Unfold the stream into exactly `size` bytes. BIRD_FORMAT where it is damaged or cut short: codes
 * or distances that do not exist, a wrong sum, or data for more or fewer bytes. Reads no byte of
 * `out` that it has not written; refuses what zlib refuses. What follows the stream is ignored. */
bird_status bird_inflate(uint8_t *out, size_t size, const uint8_t *data, size_t data_size,
                         bird_error *err);

/* Unfold the beginning of a stream; return how many bytes, at most `size`, came out before it ended
 * or was found to be damaged. */
size_t bird_inflate_some(uint8_t *out, size_t size, const uint8_t *data, size_t data_size);

/* The most that n bytes of a stream can unfold to: two bits a run of 258. */
static inline uint64_t bird_inflate_limit(size_t n) {
    return (uint64_t)n * 1032;
}

#endif
