/* Decompress zlib streams (RFC 1950 and 1951), as used in PNGs, to a block of known size. */
#ifndef BIRD_IMAGE_INFLATE_H
#define BIRD_IMAGE_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Decompress the stream to exactly `size` bytes. BIRD_FORMAT if it is damaged or truncated: invalid
 * codes or distances, a wrong checksum, or data for more or fewer bytes. Never reads a byte of
 * `out` before writing it; rejects what zlib rejects. Data after the stream is ignored. */
bird_status bird_inflate(uint8_t *out, size_t size, const uint8_t *data, size_t data_size,
                         bird_error *err);

/* Decompress the start of a stream; return the number of bytes, at most `size`, until it ends or is
 * damaged. */
size_t bird_inflate_some(uint8_t *out, size_t size, const uint8_t *data, size_t data_size);

/* The maximum decompressed size of n bytes of a stream: two bits per run of 258. */
static inline uint64_t bird_inflate_limit(size_t n) {
    return (uint64_t)n * 1032;
}

#endif
