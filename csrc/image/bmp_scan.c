#include "image/bmp_scan.h"

#include "image/bytes.h"

enum { CORE_HEADER = 12, INFO_HEADER = 40, V4_HEADER = 108, V5_HEADER = 124 };
enum { BI_RGB = 0, BI_BITFIELDS = 3 };

typedef struct header {
    uint32_t offset, size, bits, compression, alpha_mask;
    uint64_t row; /* bytes per row, rounded up to a multiple of four */
} header;

static bird_status read_header(header *h, bird_image_info *info, const uint8_t *data,
                               bird_error *err) {
    int32_t height;
    bird_status status;
    h->offset = bird_le32(data + 10);
    h->size = bird_le32(data + 14);
    if (h->size != INFO_HEADER && h->size != V4_HEADER && h->size != V5_HEADER)
        return bird_fail(err, BIRD_UNSUPPORTED, "BMP with a header of %u bytes", h->size);
    info->width = bird_le32(data + 18);
    height = (int32_t)bird_le32(data + 22);
    /* If negative, the rows begin at the top. */
    info->height = height < 0 ? (uint64_t)(-(int64_t)height) : (uint64_t)height;
    h->bits = bird_le16(data + 28);
    h->compression = bird_le32(data + 30);
    h->alpha_mask = h->size > INFO_HEADER ? bird_le32(data + 66) : 0;
    status = bird_image_check_pixels(info, err);
    if (status != BIRD_OK) return status;
    h->row = (info->width * h->bits + 31) / 32 * 4;
    info->decode_bytes = info->width * info->height * (4 + 3);
    return bird_image_check_memory(info, err);
}

static bird_status check_kind(const header *h, bird_error *err) {
    bool sound = h->compression == BI_RGB
                     ? h->bits == 1 || h->bits == 4 || h->bits == 8 || h->bits == 16 ||
                           h->bits == 24 || h->bits == 32
                     : h->compression == BI_BITFIELDS && (h->bits == 16 || h->bits == 32);
    if (!sound)
        return bird_fail(err, BIRD_UNSUPPORTED, "BMP with %u bits and compression %u", h->bits,
                         h->compression);
    return BIRD_OK;
}

/* Check that every pixel has a colour in the palette, because stb_image does not. */
static bird_status check_indices(const header *h, const bird_image_info *info,
                                 const uint8_t *data, uint32_t n_colours, bird_error *err) {
    if (n_colours >= 1u << h->bits) return BIRD_OK;
    for (uint64_t y = 0; y < info->height; y++) {
        const uint8_t *row = data + h->offset + y * h->row;
        for (uint64_t x = 0; x < info->width; x++) {
            uint64_t bit = x * h->bits;
            uint32_t index = row[bit / 8] >> (8 - h->bits - bit % 8) & ((1u << h->bits) - 1);
            if (index >= n_colours)
                return bird_fail(err, BIRD_FORMAT, "damaged BMP: colour %u of a palette of %u",
                                 index, n_colours);
        }
    }
    return BIRD_OK;
}

bird_status bird_bmp_scan(bird_image_info *info, const uint8_t *data, size_t size,
                          bird_error *err) {
    header h = {0};
    uint32_t behind_header, n_colours;
    bird_status status;
    info->format = "BMP";
    info->channels = 3;
    if (size < 14 + INFO_HEADER || (bird_le32(data + 14) > INFO_HEADER && size < 14 + V5_HEADER))
        return bird_fail(err, BIRD_FORMAT, "truncated BMP: %zu bytes", size);
    status = read_header(&h, info, data, err);
    if (status == BIRD_OK) status = check_kind(&h, err);
    if (status != BIRD_OK) return status;
    behind_header = 14 + h.size;
    if (h.size == INFO_HEADER && h.compression == BI_BITFIELDS) behind_header += 12;
    if (h.offset < behind_header || h.offset > size ||
        h.row * info->height > (uint64_t)(size - h.offset))
        return bird_fail(err, BIRD_FORMAT, "truncated BMP: rows are missing");
    /* The fourth byte of plain 32-bit pixels has no meaning unless a mask gives it one. */
    if (h.compression == BI_BITFIELDS && h.alpha_mask != 0) info->channels = 4;
    if (h.bits > 8) return BIRD_OK;
    n_colours = (h.offset - behind_header) / 4;
    if (n_colours == 0 || n_colours > 256)
        return bird_fail(err, BIRD_UNSUPPORTED, "BMP with a palette of %u colours", n_colours);
    return check_indices(&h, info, data, n_colours, err);
}
