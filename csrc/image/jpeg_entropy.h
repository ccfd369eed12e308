/* Check entropy-coded JPEG data without computing pixels: every block must decode, each
 * segment must end exactly with its data, and restart markers must be in order.
 */
#ifndef BIRD_IMAGE_JPEG_ENTROPY_H
#define BIRD_IMAGE_JPEG_ENTROPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { BIRD_JPEG_FAST_BITS = 9 };

typedef struct bird_jpeg_huffman {
    bool defined;
    /* Indexed by the next 9 bits: code length << 8 | symbol; 0 if the code is longer. */
    uint16_t fast[1 << BIRD_JPEG_FAST_BITS];
    uint32_t limit[18];  /* by length: first code past them, left-aligned in 16 bits */
    int32_t offset[17];  /* by length: index of a symbol minus its code */
    int n_symbols;
    uint8_t symbols[256];
} bird_jpeg_huffman;

typedef struct bird_jpeg_component {
    int id, h, v;           /* sampling factors */
    int quantiser;          /* index of its table */
    int dc_table, ac_table; /* of the current scan */
    uint8_t missing[64];    /* missing bits of each coefficient; 255: all */
    size_t blocks_x, blocks_y; /* inside the image */
    size_t stride;             /* blocks per row, including those that only complete an MCU */
    uint64_t *nonzero; /* owned; progressive: for each block the coefficients met so far,
                          else NULL */
} bird_jpeg_component;

typedef struct bird_jpeg {
    bool progressive;
    uint32_t width, height;
    int n_components;
    bird_jpeg_component component[4];
    size_t mcus_x, mcus_y;
    uint32_t restart_interval;
    bird_jpeg_huffman dc[4], ac[4];
    uint16_t quantiser_dc[4]; /* first entry of each quantiser table */
    bool quantiser_defined[4];
} bird_jpeg;

/* The content of a scan header. */
typedef struct bird_jpeg_scan_header {
    int n_components;
    int component[4]; /* indices */
    int spectral_start, spectral_end, high, low;
} bird_jpeg_scan_header;

/* Build a table from the 16 counts and the symbols of a DHT segment. */
bird_status bird_jpeg_build_huffman(bird_jpeg_huffman *table, const uint8_t counts[16],
                                    const uint8_t *symbols, bird_error *err);

/* Check a scan that starts at *at; on success *at is the 0xFF of the next marker. */
bird_status bird_jpeg_walk_scan(const uint8_t **at, const uint8_t *end, bird_jpeg *jpeg,
                                const bird_jpeg_scan_header *scan, bird_error *err);

#endif
