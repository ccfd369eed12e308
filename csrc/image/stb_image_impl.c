/* The translation unit of stb_image, with allocation through base/alloc. */
#include <stdbool.h>

#include "base/alloc.h"
#include "image/image.h"
#include "image/inflate.h"
#include "image/stb.h"

/* Per thread, because a decode stays on its thread and several may run at the same time. */
static _Thread_local const bird_stb_request *asked; /* borrowed for one call */
static _Thread_local bool out_of_memory, beyond_limit;
static _Thread_local bird_error unfolding; /* error of bird_inflate, or BIRD_OK */

static void *stb_realloc(void *block, size_t old_size, size_t new_size) {
    void *grown;
    if (new_size > asked->largest_block) {
        beyond_limit = true;
        return NULL;
    }
    grown = bird_realloc(block, old_size, new_size);
    if (!grown) out_of_memory = true;
    return grown;
}

#define STBI_MALLOC(size) stb_realloc(NULL, 0, size)
#define STBI_REALLOC_SIZED(block, old_size, new_size) stb_realloc(block, old_size, new_size)
#define STBI_REALLOC(block, size) (NULL) /* never called: the sized form exists */
#define STBI_FREE(block) bird_free(block)

#if defined(__GNUC__) /* warnings in third-party code */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wshadow"
#endif

/* Upsample the chroma of 4:2:2 JPEGs, which many cameras write, with a triangle filter that rounds
 * down and up in turn, as in libjpeg. stb_image's own row function computes the last but one sample
 * wrongly (it gives weight 3 to the wrong neighbour: errors of 20 of 255 at the right edge). */
static unsigned char *stbi__resample_row_h_2(unsigned char *out, unsigned char *near,
                                             unsigned char *far, int w, int hs) {
    (void)far;
    (void)hs;
    out[0] = near[0];
    for (int i = 0; i + 1 < w; i++) {
        out[2 * i + 1] = (unsigned char)((3 * near[i] + near[i + 1] + 2) >> 2);
        out[2 * i + 2] = (unsigned char)((3 * near[i + 1] + near[i] + 1) >> 2);
    }
    out[2 * w - 1] = near[w - 1];
    return out;
}

/* stb_image's definition, which is followed by a parenthesis, gets another name. Its use, which is
 * not, refers to the function above. */
#define stbi__resample_row_h_2(...) stb_row_h_2_as_shipped(__VA_ARGS__)

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_NO_ZLIB /* our own is below */
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS (1 << 24) /* our limit is on pixels, and is checked before */
#define STBI_ASSERT(condition) ((void)0) /* a malicious file must not end the process */
#include "stb_image.h"

/* Replaces the function of stb_image, which does not check for invalid codes and checksums, and
 * leaves memory uninitialised if a distance is wrong. */
static char *stbi_zlib_decode_malloc_guesssize_headerflag(const char *buffer, int len,
                                                          int initial_size, int *outlen,
                                                          int parse_header) {
    uint8_t *out = stb_realloc(NULL, 0, asked->png_bytes);
    (void)initial_size;
    (void)parse_header; /* 0 for Apple's variant, which png_scan.c rejects */
    if (!out) return NULL;
    unfolding.code = bird_inflate(out, asked->png_bytes, (const uint8_t *)buffer, (size_t)len,
                                  &unfolding);
    if (unfolding.code != BIRD_OK) {
        bird_free(out);
        return NULL;
    }
    *outlen = (int)asked->png_bytes;
    return (char *)out;
}

bird_status bird_stb_load(uint8_t **pixels, size_t *width, size_t *height, const uint8_t *data,
                          size_t size, const bird_stb_request *request, bird_error *err) {
    int w = 0, h = 0, in_file = 0;
    asked = request;
    unfolding.code = BIRD_OK;
    out_of_memory = beyond_limit = false;
    *pixels = stbi_load_from_memory(data, (int)size, &w, &h, &in_file, request->channels);
    if (!*pixels) {
        const char *reason = stbi_failure_reason();
        if (unfolding.code != BIRD_OK)
            return bird_fail(err, unfolding.code, "%s", unfolding.message);
        if (out_of_memory) return bird_fail(err, BIRD_NOMEM, "out of memory decoding an image");
        if (beyond_limit)
            return bird_fail(err, BIRD_FORMAT, "data is longer than the header says");
        return bird_fail(err, BIRD_FORMAT, "damaged data (%s)",
                         reason ? reason : "no reason given");
    }
    *width = (size_t)w;
    *height = (size_t)h;
    return BIRD_OK;
}
