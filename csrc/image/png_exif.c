#include "image/png_exif.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "image/exif.h"
#include "image/inflate.h"

enum {
    MOST_TEXT = 1 << 18, /* bytes of a profile's text; the orientation is near its start */
    PREFIX = 6           /* "Exif\0\0" */
};

typedef struct bytes {
    const uint8_t *at; /* borrowed: the file */
    size_t size;
} bytes;

static bytes without_prefix(bytes exif) {
    if (exif.size >= PREFIX && memcmp(exif.at, "Exif\0\0", PREFIX) == 0)
        return (bytes){exif.at + PREFIX, exif.size - PREFIX};
    return exif;
}

void bird_png_exif(bird_image_info *info, const uint8_t *body, size_t length) {
    bytes exif = without_prefix((bytes){body, length});
    info->exif = exif.at;
    info->exif_size = exif.size;
}

/* Drop everything up to and including the first `end`. Return false if there is none. */
static bool drop_to(bytes *text, uint8_t end) {
    const uint8_t *at = text->size > 0 ? memchr(text->at, end, text->size) : NULL;
    if (!at) return false;
    text->size -= (size_t)(at - text->at) + 1;
    text->at = at + 1;
    return true;
}

static bool drop(bytes *text, size_t n) {
    if (text->size < n) return false;
    text->at += n;
    text->size -= n;
    return true;
}

/* Return the value of a hexadecimal digit, or -1. */
static int digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_space(uint8_t c) {
    return c == '\n' || c == '\r' || c == ' ' || c == '\t';
}

/* Return the orientation in the text of a profile: a line break, its name, its size, and lines
 * of hexadecimal digits. The decoded bytes are stored at `room`, half as many; `room` may be the
 * text. */
static int orientation_of(bytes text, uint8_t *room) {
    bytes exif = {room, 0};
    int high = -1;
    while (text.size > 0 && is_space(*text.at)) drop(&text, 1);
    if (!drop_to(&text, '\n') || !drop_to(&text, '\n')) return 1;
    for (size_t i = 0; i < text.size; i++) {
        int value = digit(text.at[i]);
        if (value < 0 && is_space(text.at[i])) continue;
        if (value < 0) break;
        if (high < 0) {
            high = value;
        } else {
            room[exif.size++] = (uint8_t)(high << 4 | value);
            high = -1;
        }
    }
    exif = without_prefix(exif);
    return bird_exif_orientation(exif.at, exif.size);
}

/* Return whether the keyword of a text chunk is that of a profile with EXIF. */
static bool names_exif(bytes text) {
    static const char *const names[] = {"Raw profile type exif", "Raw profile type APP1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]) + 1;
        if (text.size >= n && memcmp(text.at, names[i], n) == 0) return true;
    }
    return false;
}

/* Find the text after the keyword, as it is in the file. Return false if the chunk is damaged. */
static bool find_text(bytes *text, bool *compressed, const uint8_t *type) {
    *compressed = type[0] == 'z';
    if (type[0] == 'z') return drop(text, 1); /* the compression method */
    if (type[0] == 't') return true;
    if (text->size < 2) return false;
    *compressed = text->at[0] == 1;
    return drop(text, 2) && drop_to(text, 0) && drop_to(text, 0); /* language, translated keyword */
}

void bird_png_text_exif(bird_image_info *info, const uint8_t *type, const uint8_t *body,
                        size_t length) {
    bytes text = {body, length};
    bool compressed;
    uint8_t *room;
    if (memcmp(type, "tEXt", 4) != 0 && memcmp(type, "zTXt", 4) != 0 &&
        memcmp(type, "iTXt", 4) != 0)
        return;
    if (info->text_orientation != 0 || !names_exif(text)) return;
    info->text_orientation = 1;
    if (!drop_to(&text, 0) || !find_text(&text, &compressed, type)) return;
    if (!compressed && text.size > MOST_TEXT) text.size = MOST_TEXT;
    room = bird_alloc(compressed ? MOST_TEXT : text.size + 1);
    if (!room) return;
    if (compressed) {
        text.size = bird_inflate_some(room, MOST_TEXT, text.at, text.size);
        text.at = room;
    }
    info->text_orientation = orientation_of(text, room);
    bird_free(room);
}
