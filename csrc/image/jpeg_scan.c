#include "image/jpeg_scan.h"

#include <string.h>

#include "base/alloc.h"
#include "image/bytes.h"
#include "image/jpeg_entropy.h"

enum {
    SOF0 = 0xC0, SOF2 = 0xC2, DHT = 0xC4, SOI = 0xD8, EOI = 0xD9, SOS = 0xDA, DQT = 0xDB,
    DNL = 0xDC, DRI = 0xDD, APP0 = 0xE0, APP1 = 0xE1, APP14 = 0xEE, APP15 = 0xEF, COM = 0xFE,
    /* A normal file needs about ten. Each scan costs a pass over the blocks of its components. */
    MAX_SCANS = 100,
    /* Limit for all scans together. 200 million pixels in colour take 44 million in libjpeg's ten
     * scans. */
    MAX_BLOCKS = 64 << 20,
    NOTHING_CAME = 255
};

static bird_status read_huffman(bird_jpeg *jpeg, const uint8_t *at, size_t left,
                                bird_error *err) {
    while (left > 0) {
        size_t n = 0;
        int kind = at[0] >> 4, number = at[0] & 15;
        if (left < 17 || kind > 1 || number > 3)
            return bird_fail(err, BIRD_FORMAT, "damaged JPEG: bad Huffman segment");
        for (int i = 1; i <= 16; i++) n += at[i];
        if (n > 256 || n > left - 17)
            return bird_fail(err, BIRD_FORMAT, "damaged JPEG: bad Huffman segment");
        bird_status status = bird_jpeg_build_huffman(
            kind == 0 ? &jpeg->dc[number] : &jpeg->ac[number], at + 1, at + 17, err);
        if (status != BIRD_OK) return status;
        at += 17 + n;
        left -= 17 + n;
    }
    return BIRD_OK;
}

static bird_status read_quantisers(bird_jpeg *jpeg, const uint8_t *at, size_t left,
                                   bird_error *err) {
    while (left > 0) {
        int wide = at[0] >> 4, number = at[0] & 15;
        size_t length = wide ? 129 : 65;
        if (wide > 1 || number > 3 || left < length)
            return bird_fail(err, BIRD_FORMAT, "damaged JPEG: bad quantisation segment");
        jpeg->quantiser_dc[number] = (uint16_t)(wide ? bird_be16(at + 1) : at[1]);
        jpeg->quantiser_defined[number] = true;
        at += length;
        left -= length;
    }
    return BIRD_OK;
}

/* Compute the sizes in blocks, when all sampling factors are known. */
static void lay_out(bird_jpeg *jpeg, int h_max, int v_max) {
    size_t h = (size_t)h_max, v = (size_t)v_max;
    jpeg->mcus_x = (jpeg->width + 8 * h - 1) / (8 * h);
    jpeg->mcus_y = (jpeg->height + 8 * v - 1) / (8 * v);
    for (int c = 0; c < jpeg->n_components; c++) {
        bird_jpeg_component *component = &jpeg->component[c];
        size_t width = (jpeg->width * (size_t)component->h + h - 1) / h;
        size_t height = (jpeg->height * (size_t)component->v + v - 1) / v;
        component->blocks_x = (width + 7) / 8;
        component->blocks_y = (height + 7) / 8;
        component->stride = jpeg->mcus_x * (size_t)component->h;
    }
}

/* Return the number of blocks of a component, including those that only complete an MCU. */
static uint64_t all_blocks(const bird_jpeg *jpeg, const bird_jpeg_component *component) {
    return (uint64_t)component->stride * jpeg->mcus_y * (uint64_t)component->v;
}

/* Estimate the decoder's memory: the planes of samples, in progressive files two bytes per
 * coefficient, widened rows, and the result. Our own bits for coefficients (one per coefficient)
 * are already freed. */
static uint64_t decode_bytes(const bird_jpeg *jpeg, const bird_image_info *info) {
    uint64_t planes = 0;
    for (int c = 0; c < jpeg->n_components; c++)
        planes += 64 * all_blocks(jpeg, &jpeg->component[c]);
    return planes * (jpeg->progressive ? 3 : 1) + info->width * (4 * info->height + 4);
}

static bird_status read_frame(bird_jpeg *jpeg, bird_image_info *info, const uint8_t *at,
                              size_t left, bird_error *err) {
    int h_max = 1, v_max = 1;
    bird_status status;
    if (left < 6 || left != 6 + 3 * (size_t)at[5])
        return bird_fail(err, BIRD_FORMAT, "damaged JPEG: bad frame header");
    if (at[0] != 8)
        return bird_fail(err, BIRD_UNSUPPORTED, "JPEG with %d bits per sample, expected 8", at[0]);
    info->height = jpeg->height = bird_be16(at + 1);
    info->width = jpeg->width = bird_be16(at + 3);
    jpeg->n_components = at[5];
    if (jpeg->n_components != 1 && jpeg->n_components != 3 && jpeg->n_components != 4)
        return bird_fail(err, BIRD_UNSUPPORTED, "JPEG with %d components, expected 1, 3 or 4",
                         jpeg->n_components);
    if (jpeg->height == 0 && jpeg->width > 0)
        return bird_fail(err, BIRD_UNSUPPORTED, "JPEG with its height after the data");
    for (int c = 0; c < jpeg->n_components; c++) {
        bird_jpeg_component *component = &jpeg->component[c];
        const uint8_t *entry = at + 6 + 3 * c;
        component->id = entry[0];
        component->h = entry[1] >> 4;
        component->v = entry[1] & 15;
        component->quantiser = entry[2];
        memset(component->missing, NOTHING_CAME, sizeof component->missing);
        if (component->h < 1 || component->h > 4 || component->v < 1 || component->v > 4 ||
            component->quantiser > 3)
            return bird_fail(err, BIRD_FORMAT, "damaged JPEG: bad component %d", c);
        for (int before = 0; before < c; before++)
            if (jpeg->component[before].id == component->id)
                return bird_fail(err, BIRD_UNSUPPORTED, "JPEG with two components of the same id");
        if (component->h > h_max) h_max = component->h;
        if (component->v > v_max) v_max = component->v;
    }
    for (int c = 0; c < jpeg->n_components; c++) {
        const bird_jpeg_component *component = &jpeg->component[c];
        if (h_max % component->h != 0 || v_max % component->v != 0)
            return bird_fail(err, BIRD_UNSUPPORTED, "JPEG with fractional subsampling");
    }
    status = bird_image_check_pixels(info, err);
    if (status != BIRD_OK) return status;
    lay_out(jpeg, h_max, v_max);
    info->decode_bytes = decode_bytes(jpeg, info);
    return bird_image_check_memory(info, err);
}

/* Check that the tables of a scan come before it. */
static bird_status check_tables(const bird_jpeg *jpeg, const bird_jpeg_scan_header *scan,
                                bird_error *err) {
    for (int i = 0; i < scan->n_components; i++) {
        const bird_jpeg_component *component = &jpeg->component[scan->component[i]];
        bool wants_dc = scan->spectral_start == 0 && scan->high == 0;
        bool wants_ac = !jpeg->progressive || scan->spectral_start > 0;
        if (!jpeg->quantiser_defined[component->quantiser] ||
            (wants_dc && !jpeg->dc[component->dc_table].defined) ||
            (wants_ac && !jpeg->ac[component->ac_table].defined))
            return bird_fail(err, BIRD_UNSUPPORTED, "JPEG scan uses a missing table");
        /* stb_image clears a block when it reads its first DC bits, so these have to come first. */
        if (wants_ac && jpeg->progressive && component->missing[0] == NOTHING_CAME)
            return bird_fail(err, BIRD_UNSUPPORTED, "JPEG scans in an unusual order");
        for (int k = scan->spectral_start; jpeg->progressive && k <= scan->spectral_end; k++)
            if (scan->high == 0 ? component->missing[k] != NOTHING_CAME
                                : component->missing[k] != scan->high ||
                                      scan->low != scan->high - 1)
                return bird_fail(err, BIRD_FORMAT, "damaged JPEG: a scan is missing or repeated");
    }
    return BIRD_OK;
}

static bird_status read_scan_header(bird_jpeg_scan_header *scan, bird_jpeg *jpeg,
                                    const uint8_t *at, size_t left, bird_error *err) {
    bool fits;
    if (left < 1 || at[0] < 1 || at[0] > jpeg->n_components || left != 4 + 2 * (size_t)at[0])
        return bird_fail(err, BIRD_FORMAT, "damaged JPEG: bad scan header");
    scan->n_components = at[0];
    for (int i = 0; i < scan->n_components; i++) {
        int c = 0, dc = at[2 + 2 * i] >> 4, ac = at[2 + 2 * i] & 15;
        while (c < jpeg->n_components && jpeg->component[c].id != at[1 + 2 * i]) c++;
        if (c == jpeg->n_components || dc > 3 || ac > 3)
            return bird_fail(err, BIRD_FORMAT, "damaged JPEG: bad scan header");
        for (int before = 0; before < i; before++)
            if (scan->component[before] == c)
                return bird_fail(err, BIRD_FORMAT, "damaged JPEG: bad scan header");
        jpeg->component[c].dc_table = dc;
        jpeg->component[c].ac_table = ac;
        scan->component[i] = c;
    }
    at += 1 + 2 * scan->n_components;
    scan->spectral_start = at[0];
    scan->spectral_end = at[1];
    scan->high = at[2] >> 4;
    scan->low = at[2] & 15;
    if (!jpeg->progressive) {
        fits = scan->spectral_start == 0 && scan->high == 0 && scan->low == 0;
    } else if (scan->spectral_start == 0) {
        fits = scan->spectral_end == 0;
    } else {
        fits = scan->spectral_end >= scan->spectral_start && scan->spectral_end <= 63 &&
               scan->n_components == 1;
    }
    if (!fits || scan->high > 13 || scan->low > 13)
        return bird_fail(err, BIRD_FORMAT, "damaged JPEG: bad scan header");
    return check_tables(jpeg, scan, err);
}

static bird_status reserve_history(bird_jpeg *jpeg, bird_error *err) {
    for (int c = 0; c < jpeg->n_components && jpeg->progressive; c++) {
        bird_jpeg_component *component = &jpeg->component[c];
        if (component->nonzero) continue;
        component->nonzero = bird_calloc(all_blocks(jpeg, component), sizeof *component->nonzero);
        if (!component->nonzero) return bird_fail(err, BIRD_NOMEM, "out of memory for a JPEG");
    }
    return BIRD_OK;
}

/* Return the number of blocks in a scan: those inside the image if it has one component, else all
 * blocks of the MCUs. */
static uint64_t blocks_of_scan(const bird_jpeg *jpeg, const bird_jpeg_scan_header *scan) {
    const bird_jpeg_component *first = &jpeg->component[scan->component[0]];
    uint64_t sum = 0;
    if (scan->n_components == 1) return (uint64_t)first->blocks_x * first->blocks_y;
    for (int i = 0; i < scan->n_components; i++)
        sum += all_blocks(jpeg, &jpeg->component[scan->component[i]]);
    return sum;
}

static bird_status read_scan(const uint8_t **at, const uint8_t *end, bird_jpeg *jpeg,
                             uint64_t *blocks, const uint8_t *segment, size_t length,
                             bird_error *err) {
    bird_jpeg_scan_header scan;
    bird_status status;
    if (jpeg->n_components == 0)
        return bird_fail(err, BIRD_FORMAT, "damaged JPEG: data before the frame header");
    status = read_scan_header(&scan, jpeg, segment, length, err);
    if (status != BIRD_OK) return status;
    *blocks += blocks_of_scan(jpeg, &scan);
    if (*blocks > MAX_BLOCKS)
        return bird_fail(err, BIRD_FORMAT,
                         "JPEG whose scans have more blocks than the limit, %d million",
                         MAX_BLOCKS >> 20);
    status = reserve_history(jpeg, err);
    if (status == BIRD_OK) status = bird_jpeg_walk_scan(at, end, jpeg, &scan, err);
    if (status != BIRD_OK) return status;
    for (int i = 0; i < scan.n_components; i++) {
        int last = jpeg->progressive ? scan.spectral_end : 63;
        for (int k = scan.spectral_start; k <= last; k++)
            jpeg->component[scan.component[i]].missing[k] = (uint8_t)scan.low;
    }
    return BIRD_OK;
}

typedef struct walk {
    bird_jpeg *jpeg;
    const uint8_t *at, *end;
    /* What libjpeg and stb_image take for JFIF and Adobe markers; they do so by different rules.
     * `adobe` is the colour transform, -1 without a marker. */
    struct {
        bool jfif;
        int adobe;
    } libjpeg, stb;
    bool is_rgb; /* whether libjpeg, which looks before the first scan, takes three components so */
    int n_scans;
    uint64_t blocks; /* of all scans so far */
} walk;

/* Read the segment of an APP marker. */
static void read_application(walk *w, bird_image_info *info, int marker, const uint8_t *body,
                             size_t length) {
    if (marker == APP0 && length >= 5 && memcmp(body, "JFIF\0", 5) == 0) {
        w->stb.jfif = true;
        if (length >= 14) w->libjpeg.jfif = true;
    }
    if (marker == APP1 && !info->exif && length > 6 && memcmp(body, "Exif\0", 5) == 0) {
        info->exif = body + 6;
        info->exif_size = length - 6;
    }
    if (marker == APP14 && length >= 12 && memcmp(body, "Adobe", 5) == 0) {
        w->libjpeg.adobe = body[11];
        if (body[5] == 0) w->stb.adobe = body[11]; /* the high byte of the version */
    }
}

static bool has_rgb_ids(const bird_jpeg *jpeg) {
    return jpeg->component[0].id == 'R' && jpeg->component[1].id == 'G' &&
           jpeg->component[2].id == 'B';
}

/* Return whether libjpeg takes three components for RGB, not YCbCr: markers come before ids. */
static bool is_rgb_in_libjpeg(const walk *w) {
    if (w->libjpeg.jfif) return false;
    return w->libjpeg.adobe >= 0 ? w->libjpeg.adobe == 0 : has_rgb_ids(w->jpeg);
}

static bool is_rgb_in_stb(const walk *w) {
    return has_rgb_ids(w->jpeg) || (w->stb.adobe == 0 && !w->stb.jfif);
}

/* Read the segment after a marker, and move w->at to its end. */
static bird_status read_segment(walk *w, bird_image_info *info, int marker, bird_error *err) {
    const uint8_t *body = w->at + 2;
    size_t length;
    if (w->end - w->at < 2 || (size_t)(w->end - w->at) < bird_be16(w->at))
        return bird_fail(err, BIRD_FORMAT, "truncated JPEG: it ends inside a header segment");
    if (bird_be16(w->at) < 2)
        return bird_fail(err, BIRD_FORMAT, "damaged JPEG: bad segment length");
    length = bird_be16(w->at) - 2;
    w->at += 2 + length;
    if (marker >= SOF0 && marker <= SOF2) {
        if (w->jpeg->n_components > 0)
            return bird_fail(err, BIRD_UNSUPPORTED, "JPEG with more than one frame");
        w->jpeg->progressive = marker == SOF2;
        return read_frame(w->jpeg, info, body, length, err);
    }
    if (marker == DHT) return read_huffman(w->jpeg, body, length, err);
    if (marker == DQT) return read_quantisers(w->jpeg, body, length, err);
    if (marker == SOS) {
        if (++w->n_scans > MAX_SCANS)
            return bird_fail(err, BIRD_FORMAT, "JPEG with more than %d scans", MAX_SCANS);
        if (w->n_scans == 1) w->is_rgb = is_rgb_in_libjpeg(w);
        return read_scan(&w->at, w->end, w->jpeg, &w->blocks, body, length, err);
    }
    if (marker == DRI) {
        if (length != 2) return bird_fail(err, BIRD_FORMAT, "damaged JPEG: bad restart segment");
        w->jpeg->restart_interval = bird_be16(body);
        return BIRD_OK;
    }
    if (marker >= APP0 && marker <= APP15) read_application(w, info, marker, body, length);
    if ((marker >= APP0 && marker <= APP15) || marker == COM) return BIRD_OK;
    if (marker >= 0xC3 && marker <= 0xCF)
        return bird_fail(err, BIRD_UNSUPPORTED,
                         "unusual JPEG (lossless, hierarchical or arithmetic coding)");
    return bird_fail(err, BIRD_UNSUPPORTED, "JPEG with an unknown marker 0x%02X", marker);
}

/* Check that every component has data, and that stb_image knows its colours. */
static bird_status check_complete(const walk *w, bird_error *err) {
    const bird_jpeg *jpeg = w->jpeg;
    if (jpeg->n_components == 0 || w->n_scans == 0)
        return bird_fail(err, BIRD_FORMAT, "damaged JPEG: it contains no image");
    for (int c = 0; c < jpeg->n_components; c++)
        for (int k = 0; k < 64; k++)
            if (jpeg->component[c].missing[k] != 0)
                return bird_fail(err, BIRD_FORMAT, "truncated JPEG: a part of its data is missing");
    if (jpeg->n_components == 4 && w->stb.adobe != 0 && w->stb.adobe != 2)
        return bird_fail(err, BIRD_UNSUPPORTED, "JPEG with 4 components and no Adobe marker");
    if (jpeg->n_components == 3 && w->is_rgb != is_rgb_in_stb(w))
        return bird_fail(err, BIRD_UNSUPPORTED, "JPEG whose header contradicts itself on colours");
    return BIRD_OK;
}

static bird_status walk_markers(walk *w, bird_image_info *info, bird_error *err) {
    for (;;) {
        int marker;
        bird_status status;
        if (w->end - w->at < 2)
            return bird_fail(err, BIRD_FORMAT, "truncated JPEG: the end marker is missing");
        if (w->at[0] != 0xFF)
            return bird_fail(err, BIRD_FORMAT, "damaged JPEG: a marker is missing");
        marker = w->at[1];
        w->at += marker == 0xFF ? 1 : 2;
        if (marker == 0xFF) continue;
        if (marker == EOI) return check_complete(w, err);
        status = read_segment(w, info, marker, err);
        if (status != BIRD_OK) return status;
    }
}

bird_status bird_jpeg_scan(bird_image_info *info, const uint8_t *data, size_t size,
                           bird_error *err) {
    bird_status status;
    walk w = {.at = data + 2, .end = data + size, .libjpeg.adobe = -1, .stb.adobe = -1};
    info->format = "JPEG";
    /* Four, because stb_image's vector code for YCbCr writes four. */
    info->channels = 4;
    info->opaque = true;
    if (size < 4) return bird_fail(err, BIRD_FORMAT, "truncated JPEG: %zu bytes", size);
    /* The tables take 20 KB, too much for the stack of a thread that is not ours. */
    w.jpeg = bird_calloc(1, sizeof *w.jpeg);
    if (!w.jpeg) return bird_fail(err, BIRD_NOMEM, "out of memory for a JPEG");
    status = walk_markers(&w, info, err);
    for (int c = 0; c < 4; c++) bird_free(w.jpeg->component[c].nonzero);
    bird_free(w.jpeg);
    return status;
}
