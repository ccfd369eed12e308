/* Numbers in files: big-endian (JPEG, PNG) and little-endian (GIF, BMP). */
#ifndef BIRD_IMAGE_BYTES_H
#define BIRD_IMAGE_BYTES_H

#include <stdint.h>

static inline uint32_t bird_be16(const uint8_t *at) {
    return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t bird_be32(const uint8_t *at) {
    return bird_be16(at) << 16 | bird_be16(at + 2);
}

static inline uint32_t bird_le16(const uint8_t *at) {
    return (uint32_t)at[1] << 8 | at[0];
}

static inline uint32_t bird_le32(const uint8_t *at) {
    return bird_le16(at + 2) << 16 | bird_le16(at);
}

#endif
