/* The fuzz entry over mutations of the tiny pictures: the same ones in every run. */
#include "../../fuzz/fuzz_decode.c"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pictures.h"

enum { ROUNDS = 1500, ROOM = 64 };

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Flip, overwrite, insert, remove or repeat a few bytes. Returns the new size. */
static size_t mutate(uint8_t *data, size_t size, uint32_t *state) {
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

/* The CRCs of a PNG would stop every mutation at the door: mend them. */
static void mend_png(uint8_t *data, size_t size) {
    for (size_t at = 8; size > at && size - at >= 12;) {
        uint32_t length = (uint32_t)data[at] << 24 | (uint32_t)data[at + 1] << 16 |
                          (uint32_t)data[at + 2] << 8 | data[at + 3];
        uint32_t crc = 0xFFFFFFFFu;
        if (length > size - at - 12) return;
        for (size_t i = at + 4; i < at + 8 + length; i++) {
            crc ^= data[i];
            for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        }
        crc = ~crc;
        for (int i = 0; i < 4; i++) data[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += (size_t)length + 12;
    }
}

int main(void) {
    for (int p = 0; p < N_PICTURES; p++) {
        uint32_t state = 0x9E3779B9u + (uint32_t)p;
        for (int round = 0; round < ROUNDS; round++) {
            /* A block of just the size, so that the sanitizer sees a read beyond it. */
            uint8_t *room = malloc(pictures[p].size + ROOM), *exact;
            size_t size;
            memcpy(room, pictures[p].data, pictures[p].size);
            size = mutate(room, pictures[p].size, &state);
            if (round % 2 == 0 && room[0] == 0x89) mend_png(room, size);
            exact = malloc(size);
            memcpy(exact, room, size);
            CHECK(LLVMFuzzerTestOneInput(exact, size) == 0);
            free(exact);
            free(room);
        }
    }
    return check_failures;
}
