#include "image/jpeg_entropy.h"

#include <string.h>

#include "image/bytes.h"

/* The bits of the entropy-coded data, most significant first, without the stuffed zeros. */
typedef struct bits {
    const uint8_t *at, *end; /* borrowed: the file's bytes */
    uint64_t buffer;         /* left-aligned; below the real bits: zeros, or bits to come */
    int count;               /* how many of them are real */
} bits;

bird_status bird_jpeg_build_huffman(bird_jpeg_huffman *table, const uint8_t counts[16],
                                    const uint8_t *symbols, bird_error *err) {
    uint32_t code = 0;
    int k = 0;
    memset(table, 0, sizeof *table);
    for (int length = 1; length <= 16; length++) {
        table->offset[length] = k - (int32_t)code;
        if (code + counts[length - 1] > 1u << length || k + counts[length - 1] > 256)
            return bird_fail(err, BIRD_FORMAT, "damaged JPEG: impossible Huffman table");
        for (int i = 0; i < counts[length - 1]; i++, k++, code++) {
            table->symbols[k] = symbols[k];
            if (length > BIRD_JPEG_FAST_BITS) continue;
            for (uint32_t j = 0; j < 1u << (BIRD_JPEG_FAST_BITS - length); j++)
                table->fast[(code << (BIRD_JPEG_FAST_BITS - length)) + j] =
                    (uint16_t)(length << 8 | symbols[k]);
        }
        table->limit[length] = code << (16 - length);
        code <<= 1;
    }
    table->limit[17] = UINT32_MAX; /* ends every search */
    table->n_symbols = k;
    table->defined = true;
    return BIRD_OK;
}

/* Fill the buffer to at least 56 bits, or with all data before the next marker. */
static void refill(bits *in) {
    if (in->end - in->at >= 8 && in->count <= 56) {
        uint64_t eight = (uint64_t)bird_be32(in->at) << 32 | bird_be32(in->at + 4);
        /* No byte is 0xFF if no byte of the complement is zero. */
        if (((~eight - 0x0101010101010101u) & eight & 0x8080808080808080u) == 0) {
            int bytes = (64 - in->count) / 8;
            in->buffer |= eight >> in->count;
            in->count += 8 * bytes;
            in->at += bytes;
            return;
        }
    }
    while (in->count <= 56) {
        uint8_t byte;
        if (in->at >= in->end) return;
        byte = *in->at;
        if (byte == 0xFF) {
            if (in->end - in->at < 2 || in->at[1] != 0) return;
            in->at++;
        }
        in->at++;
        in->buffer |= (uint64_t)byte << (56 - in->count);
        in->count += 8;
    }
}

/* Drop n <= 56 bits, the number that refill provides. Return false if there are fewer. */
static inline bool skip(bits *in, int n) {
    if (in->count < n) {
        refill(in);
        if (in->count < n) return false;
    }
    in->buffer <<= n;
    in->count -= n;
    return true;
}

/* Return the next n <= 16 bits as a number, or -1. */
static inline int take(bits *in, int n) {
    uint32_t value;
    if (n == 0) return 0;
    if (in->count < n) refill(in);
    if (in->count < n) return -1;
    value = (uint32_t)(in->buffer >> (64 - n));
    in->buffer <<= n;
    in->count -= n;
    return (int)value;
}

/* Return length << 8 | symbol of the next code, or 0 if there is none. */
static inline uint32_t look_up(bits *in, const bird_jpeg_huffman *table) {
    uint32_t entry, code, length;
    if (in->count < 32) refill(in);
    entry = table->fast[in->buffer >> (64 - BIRD_JPEG_FAST_BITS)];
    if (entry) return entry;
    code = (uint32_t)(in->buffer >> 48);
    for (length = BIRD_JPEG_FAST_BITS + 1; code >= table->limit[length]; length++) {
    }
    if (length > 16) return 0;
    code = (code >> (16 - length)) + (uint32_t)table->offset[length];
    return length << 8 | table->symbols[code & 255];
}

/* Return the next symbol, or -1 if there is none. */
static inline int symbol(bits *in, const bird_jpeg_huffman *table) {
    uint32_t entry = look_up(in, table);
    if (entry == 0 || !skip(in, (int)(entry >> 8))) return -1;
    return (int)(entry & 255);
}

/* Like symbol(), but also skip the value bits, whose number is the low half of the symbol. */
static inline int symbol_and_value(bits *in, const bird_jpeg_huffman *table) {
    uint32_t entry = look_up(in, table);
    if (entry == 0 || !skip(in, (int)((entry >> 8) + (entry & 15)))) return -1;
    return (int)(entry & 255);
}

/* Read the DC coefficient of a block and add it to the previous one. Return false if it is
 * damaged. */
static bool walk_dc(bits *in, const bird_jpeg_huffman *table, int32_t *dc, int32_t largest) {
    int size = symbol(in, table), value;
    if (size < 0 || size > 11) return false; /* 8-bit samples need at most 11 bits */
    value = take(in, size);
    if (value < 0) return false;
    if (size > 0 && value < 1 << (size - 1)) value -= (1 << size) - 1;
    *dc += value;
    return *dc <= largest && *dc >= -largest;
}

/* Read the AC coefficients of a block of a sequential JPEG. */
static bool walk_ac(bits *in, const bird_jpeg_huffman *table) {
    for (int k = 1; k < 64; k++) {
        int run_size = symbol_and_value(in, table);
        if (run_size < 0) return false;
        k += run_size >> 4;
        if ((run_size & 15) == 0) {
            if (run_size != 0xF0) return run_size == 0; /* end of block */
        } else if (k > 63) {
            return false;
        }
    }
    return true;
}

/* At the end of a band in a progressive scan, read the length of the run of such blocks, minus this
 * block. */
static bool take_eob_run(bits *in, int r, uint32_t *eob_run) {
    int extra = take(in, r);
    if (extra < 0) return false;
    *eob_run = (1u << r) - 1 + (uint32_t)extra;
    return true;
}

static bool walk_ac_first(bits *in, const bird_jpeg_huffman *table,
                          const bird_jpeg_scan_header *scan, uint32_t *eob_run,
                          uint64_t *nonzero) {
    if (*eob_run > 0) {
        --*eob_run;
        return true;
    }
    for (int k = scan->spectral_start; k <= scan->spectral_end; k++) {
        int run_size = symbol_and_value(in, table), size;
        if (run_size < 0) return false;
        size = run_size & 15;
        if (size == 0 && run_size != 0xF0) return take_eob_run(in, run_size >> 4, eob_run);
        k += run_size >> 4;
        if (size == 0) continue;
        if (k > scan->spectral_end) return false;
        *nonzero |= (uint64_t)1 << k;
    }
    return true;
}

/* Return coefficients first .. last as a mask. */
static inline uint64_t band(int first, int last) {
    return (~(uint64_t)0 >> (63 - last)) & (~(uint64_t)0 << first);
}

/* Read one correction bit for each coefficient that is already nonzero. */
static bool walk_corrections(bits *in, uint64_t nonzero, int first, int last) {
    int n;
    if (first > last) return true;
    n = __builtin_popcountll(nonzero & band(first, last));
    return skip(in, n / 2) && skip(in, n - n / 2);
}

static bool walk_ac_refine(bits *in, const bird_jpeg_huffman *table,
                           const bird_jpeg_scan_header *scan, uint32_t *eob_run,
                           uint64_t *nonzero) {
    int k = scan->spectral_start, last = scan->spectral_end;
    if (*eob_run > 0) {
        --*eob_run;
        return walk_corrections(in, *nonzero, k, last);
    }
    while (k <= last) {
        int run_size = symbol(in, table), run, size;
        if (run_size < 0) return false;
        run = run_size >> 4;
        size = run_size & 15;
        if (size > 1) return false; /* a new coefficient is 1 or -1 */
        if (size == 0 && run < 15)
            return take_eob_run(in, run, eob_run) && walk_corrections(in, *nonzero, k, last);
        if (size == 1 && !skip(in, 1)) return false; /* the sign */
        for (; k <= last; k++) {
            if (*nonzero >> k & 1) {
                if (!skip(in, 1)) return false;
            } else if (run-- == 0) {
                break;
            }
        }
        if (size == 1) {
            if (k > last) return false;
            *nonzero |= (uint64_t)1 << k;
        }
        k++;
    }
    return true;
}

typedef struct walker {
    bits in;
    bird_jpeg *jpeg;                   /* borrowed */
    const bird_jpeg_scan_header *scan; /* borrowed */
    int32_t dc[4];                     /* last DC by component */
    int32_t largest_dc[4];
    uint32_t eob_run;
} walker;

static bool walk_block(walker *w, int c, size_t x, size_t y) {
    const bird_jpeg_scan_header *scan = w->scan;
    bird_jpeg_component *component = &w->jpeg->component[c];
    const bird_jpeg_huffman *dc = &w->jpeg->dc[component->dc_table];
    const bird_jpeg_huffman *ac = &w->jpeg->ac[component->ac_table];
    uint64_t *nonzero;
    if (!w->jpeg->progressive)
        return walk_dc(&w->in, dc, &w->dc[c], w->largest_dc[c]) && walk_ac(&w->in, ac);
    if (scan->spectral_start == 0)
        return scan->high == 0 ? walk_dc(&w->in, dc, &w->dc[c], w->largest_dc[c])
                               : skip(&w->in, 1);
    nonzero = &component->nonzero[y * component->stride + x];
    return scan->high == 0 ? walk_ac_first(&w->in, ac, scan, &w->eob_run, nonzero)
                           : walk_ac_refine(&w->in, ac, scan, &w->eob_run, nonzero);
}

static bool walk_mcu(walker *w, size_t x, size_t y) {
    if (w->scan->n_components == 1) return walk_block(w, w->scan->component[0], x, y);
    for (int i = 0; i < w->scan->n_components; i++) {
        int c = w->scan->component[i];
        const bird_jpeg_component *component = &w->jpeg->component[c];
        for (int v = 0; v < component->v; v++)
            for (int h = 0; h < component->h; h++)
                if (!walk_block(w, c, x * (size_t)component->h + (size_t)h,
                                y * (size_t)component->v + (size_t)v))
                    return false;
    }
    return true;
}

/* Return true if only padding is left before the next marker: the rest of a byte, and zero bytes,
 * which some cameras append. Leaves `at` on the 0xFF of the marker. */
static bool at_segment_end(bits *in) {
    refill(in);
    skip(in, in->count % 8);
    for (;;) {
        if (in->buffer != 0) return false;
        in->count = 0;
        refill(in);
        if (in->count == 0) break;
    }
    /* A marker may be preceded by any number of 0xFF. */
    while (in->end - in->at >= 2 && in->at[1] == 0xFF) in->at++;
    return true;
}

/* Read the restart marker that must be here, and reset the state. */
static bool walk_restart(walker *w, uint32_t number) {
    bits *in = &w->in;
    if (w->eob_run > 0 || !at_segment_end(in) || in->end - in->at < 2 ||
        in->at[1] != (0xD0 | (number & 7)))
        return false;
    in->at += 2;
    memset(w->dc, 0, sizeof w->dc);
    return true;
}

bird_status bird_jpeg_walk_scan(const uint8_t **at, const uint8_t *end, bird_jpeg *jpeg,
                                const bird_jpeg_scan_header *scan, bird_error *err) {
    walker w = {.in = {.at = *at, .end = end}, .jpeg = jpeg, .scan = scan};
    const bird_jpeg_component *first = &jpeg->component[scan->component[0]];
    size_t nx = scan->n_components == 1 ? first->blocks_x : jpeg->mcus_x;
    size_t ny = scan->n_components == 1 ? first->blocks_y : jpeg->mcus_y;
    uint32_t left = jpeg->restart_interval, restarts = 0;

    for (int c = 0; c < 4; c++) {
        /* 8-bit samples give dequantised DC values up to 1024; rounding adds half a step. */
        int32_t step = jpeg->quantiser_dc[jpeg->component[c].quantiser];
        w.largest_dc[c] = ((2048 + step) / (step > 0 ? step : 1)) >> (scan->low & 15);
        w.largest_dc[c]++;
    }
    for (size_t y = 0; y < ny; y++) {
        for (size_t x = 0; x < nx; x++) {
            if (jpeg->restart_interval > 0 && left-- == 0) {
                if (!walk_restart(&w, restarts++))
                    return bird_fail(err, BIRD_FORMAT,
                                     "damaged JPEG: restart marker %u is misplaced",
                                     restarts - 1);
                left = jpeg->restart_interval - 1;
            }
            if (!walk_mcu(&w, x, y))
                return bird_fail(err, BIRD_FORMAT,
                                 end - w.in.at < 2
                                     ? "truncated JPEG: data ends in row %zu of %zu blocks"
                                     : "damaged JPEG: bad data in row %zu of %zu blocks",
                                 y, ny);
        }
    }
    if (w.eob_run > 0 || !at_segment_end(&w.in))
        return bird_fail(err, BIRD_FORMAT, "damaged JPEG: data continues after the last block");
    if (end - w.in.at < 2)
        return bird_fail(err, BIRD_FORMAT, "truncated JPEG: the end marker is missing");
    *at = w.in.at;
    return BIRD_OK;
}
