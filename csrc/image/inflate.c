#include "image/inflate.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "image/bytes.h"

enum {
    LONGEST = 15,     /* longest code, in bits */
    FAST_BITS = 10,   /* longest code that one table lookup finds */
    N_LITERALS = 288, /* bytes, the end of a block (256), and lengths */
    N_DISTANCES = 32,
    END_OF_BLOCK = 256,
    ADLER = 65521
};

/* A canonical Huffman code. */
typedef struct huffman {
    uint16_t fast[1 << FAST_BITS]; /* next bits: symbol << 4 | length; 0: longer or none */
    uint32_t limit[LONGEST + 2];   /* by length: first code past them, left-aligned */
    int32_t offset[LONGEST + 1];   /* by length: index of a symbol minus its code */
    uint16_t symbols[N_LITERALS];
} huffman;

typedef struct stream {
    const uint8_t *at, *end; /* borrowed: the file's bytes */
    uint64_t buffer;         /* least significant bit first; zeros above the real bits */
    int count;               /* how many of them are real */
    uint8_t *out, *start, *out_end;
    bool cut; /* the data ended too early */
} stream;

static const uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,
                                         15, 17, 19, 23, 27, 31, 35, 43, 51,  59,
                                         67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                         2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t distance_base[30] = {
    1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
    193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static const uint8_t distance_extra[30] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                           6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

static uint32_t reversed(uint32_t code, int length) {
    uint32_t result = 0;
    for (int i = 0; i < length; i++) result |= (code >> i & 1) << (length - 1 - i);
    return result;
}

/* Build a code from its lengths. Return false if the code is impossible or has gaps. Like zlib,
 * allow gaps in a code with no symbols, and, unless `whole` (for the code of the lengths), in one
 * whose single symbol has one bit. */
static bool build(huffman *code, const uint8_t *lengths, int n, bool whole) {
    uint32_t counts[LONGEST + 1] = {0}, next[LONGEST + 1], first = 0;
    int index = 0, longest = 0, places[LONGEST + 1];
    memset(code, 0, sizeof *code);
    code->limit[LONGEST + 1] = UINT32_MAX; /* ends every search */
    for (int i = 0; i < n; i++) counts[lengths[i]]++;
    for (int length = 1; length <= LONGEST; length++) {
        next[length] = first;
        places[length] = index;
        code->offset[length] = index - (int32_t)first;
        first += counts[length];
        index += (int)counts[length];
        if (first > 1u << length) return false;
        code->limit[length] = first << (LONGEST - length);
        if (counts[length] > 0) longest = length;
        first <<= 1;
    }
    /* After the loop, `first` has been shifted once more than there are lengths. */
    if (longest > 0 && first != 1u << (LONGEST + 1) && (whole || longest != 1)) return false;
    for (int i = 0; i < n; i++) {
        int length = lengths[i];
        if (length == 0) continue;
        code->symbols[places[length]++] = (uint16_t)i;
        if (length <= FAST_BITS)
            for (uint32_t at = reversed(next[length], length); at < 1u << FAST_BITS;
                 at += 1u << length)
                code->fast[at] = (uint16_t)(i << 4 | length);
        next[length]++;
    }
    return true;
}

/* Fill the buffer to at least 56 bits, or with all remaining data. */
static inline void refill(stream *s) {
    if (s->end - s->at >= 8) {
        uint64_t eight = (uint64_t)bird_le32(s->at + 4) << 32 | bird_le32(s->at);
        int bytes = (63 - s->count) >> 3;
        if (bytes == 0) return;
        /* Use whole bytes only: the bits above `count` stay zero. */
        eight &= ((uint64_t)1 << 8 * bytes) - 1;
        s->buffer |= eight << s->count;
        s->at += bytes;
        s->count += 8 * bytes;
        return;
    }
    for (; s->count <= 56 && s->at < s->end; s->count += 8)
        s->buffer |= (uint64_t)*s->at++ << s->count;
}

/* Drop n bits. Return false at the end of the data. */
static inline bool skip(stream *s, int n) {
    if (n > s->count) {
        s->cut = true;
        return false;
    }
    s->buffer >>= n;
    s->count -= n;
    return true;
}

/* Return the next n bits as a number, or -1. The buffer contains them unless the data ends. */
static inline int take(stream *s, int n) {
    int value = (int)(s->buffer & (((uint64_t)1 << n) - 1));
    return skip(s, n) ? value : -1;
}

/* Return the symbol of a code longer than FAST_BITS, or -1 if there is none. */
static int long_symbol(stream *s, const huffman *code) {
    uint32_t bits = reversed((uint32_t)s->buffer & ((1u << LONGEST) - 1), LONGEST);
    int length = 1;
    while (bits >= code->limit[length]) length++;
    if (length > LONGEST) {
        s->cut = s->count < LONGEST;
        return -1;
    }
    if (!skip(s, length)) return -1;
    return code->symbols[(int32_t)(bits >> (LONGEST - length)) + code->offset[length]];
}

/* Return the next symbol, or -1. The buffer has been refilled. */
static inline int symbol(stream *s, const huffman *code) {
    uint32_t entry = code->fast[s->buffer & ((1u << FAST_BITS) - 1)];
    if (entry == 0) return long_symbol(s, code);
    return skip(s, (int)(entry & 15)) ? (int)(entry >> 4) : -1;
}

static bird_status damaged(const stream *s, bird_error *err, const char *what) {
    if (s->cut) return bird_fail(err, BIRD_FORMAT, "truncated PNG: its compressed data ends early");
    return bird_fail(err, BIRD_FORMAT, "damaged PNG: %s in its compressed data", what);
}

static bird_status too_long(bird_error *err) {
    return bird_fail(err, BIRD_FORMAT,
                     "damaged PNG: data is longer than the header says");
}

/* Repeat `length` bytes that begin `distance` bytes back. Both have been checked. */
static inline void repeat(stream *s, size_t length, size_t distance) {
    const uint8_t *from = s->out - distance;
    uint8_t *to = s->out, *end = to + length;
    s->out = end;
    if (distance >= 8 && (size_t)(s->out_end - to) >= length + 8) {
        /* This writes up to 7 bytes too many, which later output overwrites. */
        for (; to < end; to += 8, from += 8) memcpy(to, from, 8);
    } else if (distance == 1) {
        memset(to, *from, length);
    } else {
        while (to < end) *to++ = *from++;
    }
}

/* Copy a run. Its length symbol has been read. */
static bird_status unfold_run(stream *s, const huffman *distances, int code, bird_error *err) {
    int length, distance, extra;
    code -= END_OF_BLOCK + 1;
    if (code >= 29) return damaged(s, err, "a length that does not exist");
    refill(s);
    extra = take(s, length_extra[code]);
    if (extra < 0) return damaged(s, err, "");
    length = length_base[code] + extra;
    code = symbol(s, distances);
    if (code < 0 || code >= 30) return damaged(s, err, "a distance that does not exist");
    extra = take(s, distance_extra[code]);
    if (extra < 0) return damaged(s, err, "");
    distance = distance_base[code] + extra;
    if (distance > s->out - s->start) return damaged(s, err, "a distance beyond the beginning");
    if (length > s->out_end - s->out) return too_long(err);
    repeat(s, (size_t)length, (size_t)distance);
    return BIRD_OK;
}

static bird_status unfold_codes(stream *s, const huffman *literals, const huffman *distances,
                                bird_error *err) {
    for (;;) {
        bird_status status;
        int code;
        refill(s);
        code = symbol(s, literals);
        /* One refill is enough for three codes. */
        for (int more = 2; code >= 0 && code < END_OF_BLOCK; more--) {
            if (s->out == s->out_end) return too_long(err);
            *s->out++ = (uint8_t)code;
            if (more == 0) break;
            code = symbol(s, literals);
        }
        if (code < 0) return damaged(s, err, "a code that does not exist");
        if (code < END_OF_BLOCK) continue;
        if (code == END_OF_BLOCK) return BIRD_OK;
        status = unfold_run(s, distances, code, err);
        if (status != BIRD_OK) return status;
    }
}

static bird_status unfold_stored(stream *s, bird_error *err) {
    size_t length;
    int low, high;
    skip(s, s->count % 8);
    refill(s);
    low = take(s, 16);
    high = low < 0 ? -1 : take(s, 16);
    if (high < 0 || low != (~high & 0xFFFF)) return damaged(s, err, "a bad length");
    /* The buffer contains whole bytes, so go back to the first unused one. */
    s->at -= s->count / 8;
    s->buffer = 0;
    s->count = 0;
    length = (size_t)low;
    s->cut = length > (size_t)(s->end - s->at);
    if (s->cut) return damaged(s, err, "");
    if (length > (size_t)(s->out_end - s->out)) return too_long(err);
    memcpy(s->out, s->at, length);
    s->at += length;
    s->out += length;
    return BIRD_OK;
}

/* Read the n code lengths of a block's two codes. */
static bool read_lengths(stream *s, uint8_t *lengths, int n, const huffman *code) {
    for (int i = 0; i < n;) {
        int value, count;
        refill(s);
        value = symbol(s, code);
        if (value < 0) return false;
        if (value < 16) {
            lengths[i++] = (uint8_t)value;
            continue;
        }
        if (value == 16 && i == 0) return false;
        count = take(s, value == 16 ? 2 : value == 17 ? 3 : 7);
        if (count < 0) return false;
        count += value == 18 ? 11 : 3;
        if (count > n - i) return false;
        memset(lengths + i, value == 16 ? lengths[i - 1] : 0, (size_t)count);
        i += count;
    }
    return true;
}

static bird_status unfold_dynamic(stream *s, bird_error *err) {
    static const uint8_t order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                      11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[N_LITERALS + N_DISTANCES] = {0};
    huffman literals, distances;
    int n_literals, n_distances, n;
    refill(s);
    n_literals = take(s, 5) + 257;
    n_distances = take(s, 5) + 1;
    n = take(s, 4) + 4;
    if (s->cut || n_literals > 286 || n_distances > 30)
        return damaged(s, err, "too many codes");
    for (int i = 0; i < n; i++) {
        refill(s);
        lengths[order[i]] = (uint8_t)(take(s, 3) & 7);
    }
    if (s->cut || !build(&literals, lengths, 19, true))
        return damaged(s, err, "an impossible code");
    memset(lengths, 0, 19);
    if (!read_lengths(s, lengths, n_literals + n_distances, &literals))
        return damaged(s, err, "an impossible code");
    if (lengths[END_OF_BLOCK] == 0) return damaged(s, err, "no end of a block");
    if (!build(&distances, lengths + n_literals, n_distances, false) ||
        !build(&literals, lengths, n_literals, false))
        return damaged(s, err, "an impossible code");
    return unfold_codes(s, &literals, &distances, err);
}

static struct {
    pthread_once_t once;
    huffman literals, distances;
} fixed = {.once = PTHREAD_ONCE_INIT};

static void build_fixed(void) {
    uint8_t lengths[N_LITERALS];
    for (int i = 0; i < N_LITERALS; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    build(&fixed.literals, lengths, N_LITERALS, true);
    memset(lengths, 5, N_DISTANCES);
    build(&fixed.distances, lengths, N_DISTANCES, true);
}

static uint32_t adler32_of(const uint8_t *at, size_t size) {
    uint32_t a = 1, b = 0;
    while (size > 0) {
        size_t part = size < 5536 ? size : 5536; /* more could overflow 32 bits */
        size -= part;
        for (; part >= 16; part -= 16, at += 16) {
            uint32_t sum = 0, weighed = 0;
            for (uint32_t i = 0; i < 16; i++) {
                sum += at[i];
                weighed += (16 - i) * at[i];
            }
            b += 16 * a + weighed;
            a += sum;
        }
        for (; part > 0; part--) {
            a += *at++;
            b += a;
        }
        a %= ADLER;
        b %= ADLER;
    }
    return b << 16 | a;
}

/* Compare the checksum that follows the last block with that of the output. */
static bird_status check_sum(stream *s, bird_error *err) {
    uint32_t sum = 0;
    skip(s, s->count % 8);
    for (int i = 0; i < 4; i++) {
        refill(s);
        sum = sum << 8 | (uint32_t)(take(s, 8) & 255);
    }
    if (s->cut || sum != adler32_of(s->start, (size_t)(s->out - s->start)))
        return damaged(s, err, "a checksum that does not match");
    return BIRD_OK;
}

/* Decompress all blocks of a stream, beginning with its header. */
static bird_status unfold(stream *s, bird_error *err) {
    const uint8_t *data = s->at;
    int last = 0;
    pthread_once(&fixed.once, build_fixed);
    s->cut = s->end - data < 2;
    if (s->cut || (data[0] & 15) != 8 || data[0] >> 4 > 7 || bird_be16(data) % 31 != 0 ||
        (data[1] & 0x20) != 0)
        return damaged(s, err, "a bad header");
    s->at += 2;
    while (!last) {
        bird_status status;
        int kind;
        refill(s);
        last = take(s, 1);
        kind = take(s, 2);
        if (kind == 0)
            status = unfold_stored(s, err);
        else if (kind == 1)
            status = unfold_codes(s, &fixed.literals, &fixed.distances, err);
        else if (kind == 2)
            status = unfold_dynamic(s, err);
        else
            status = damaged(s, err, "a block of no known kind");
        if (status != BIRD_OK) return status;
    }
    return BIRD_OK;
}

bird_status bird_inflate(uint8_t *out, size_t size, const uint8_t *data, size_t data_size,
                         bird_error *err) {
    stream s = {.at = data, .end = data + data_size, .out = out, .start = out,
                .out_end = out + size};
    bird_status status = unfold(&s, err);
    if (status != BIRD_OK) return status;
    if (s.out != s.out_end)
        return bird_fail(err, BIRD_FORMAT, "truncated PNG: data for %zu of %zu bytes",
                         (size_t)(s.out - out), size);
    return check_sum(&s, err);
}

size_t bird_inflate_some(uint8_t *out, size_t size, const uint8_t *data, size_t data_size) {
    stream s = {.at = data, .end = data + data_size, .out = out, .start = out,
                .out_end = out + size};
    bird_error ignored;
    unfold(&s, &ignored);
    return (size_t)(s.out - out);
}
