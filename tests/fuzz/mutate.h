/* Mutations of pictures, and what makes a mutated PNG pass its outer checks. */
#ifndef BIRD_FUZZ_MUTATE_H
#define BIRD_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "image/inflate.h"

enum { MUTATE_ROOM = 64 }; /* by how much a mutated picture may be larger */

static inline uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Flip, overwrite, insert, remove or repeat a few bytes. Returns the new size. */
static inline size_t mutate(uint8_t *data, size_t size, uint32_t *state) {
    static const uint8_t liked[] = {0, 1, 0x7F, 0x80, 0xFF, 0xD0, 0xD9, 0xDA, 0xC4, 0x3F};
    for (uint32_t left = 1 + next_random(state) % 4; left > 0; left--) {
        size_t at = next_random(state) % size, n = 1 + next_random(state) % 8;
        if (n > size - at) n = size - at;
        switch (next_random(state) % 5) {
            case 0: data[at] ^= (uint8_t)(1u << next_random(state) % 8); break;
            case 1: data[at] = liked[next_random(state) % sizeof liked]; break;
            case 2: data[at] = (uint8_t)next_random(state); break;
            case 3:
                if (size - n < 4) break;
                memmove(data + at, data + at + n, size - at - n);
                size -= n;
                break;
            default:
                memmove(data + at + n, data + at, size - at);
                size += n;
        }
    }
    return size;
}

static inline uint32_t read32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void write32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Make the sum at the end of a zlib stream that of what comes out of it. */
static inline void mend_zlib(uint8_t *stream, size_t size) {
    static uint8_t raw[1 << 16];
    uint32_t a = 1, b = 0;
    size_t n;
    if (size < 6) return;
    n = bird_inflate_some(raw, sizeof raw, stream, size);
    for (size_t i = 0; i < n; i++) {
        a = (a + raw[i]) % 65521;
        b = (b + a) % 65521;
    }
    write32(stream + size - 4, b << 16 | a);
}

/* The CRCs of a PNG would stop every mutation at the door: mend them, and the data's sum. */
static inline void mend_png(uint8_t *data, size_t size) {
    for (size_t at = 8; size > at && size - at >= 12;) {
        size_t length = read32(data + at);
        uint32_t crc = 0xFFFFFFFFu;
        if (length > size - at - 12) return;
        if (memcmp(data + at + 4, "IDAT", 4) == 0) mend_zlib(data + at + 8, length);
        for (size_t i = at + 4; i < at + 8 + length; i++) {
            crc ^= data[i];
            for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        }
        write32(data + at + 8 + length, ~crc);
        at += length + 12;
    }
}

#endif
