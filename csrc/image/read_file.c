#include "image/read_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "image/image.h"

/* Files in /proc and similar have no size; they are read in growing pieces, beginning with this. */
enum { FIRST_PIECE = 64 * 1024 };

/* Fill `block` from `used` to `size`. *used grows by the bytes read: fewer at the end of a file. */
static bird_status read_up_to(uint8_t *block, size_t *used, size_t size, int file,
                              bird_error *err) {
    while (*used < size) {
        ssize_t got = read(file, block + *used, size - *used);
        if (got == 0) break;
        if (got < 0) {
            if (errno == EINTR) continue;
            return bird_fail_io(err, errno, "cannot read the file");
        }
        *used += (size_t)got;
    }
    return BIRD_OK;
}

bird_status bird_read_file(uint8_t **data, size_t *size, const char *path, bird_error *err) {
    bird_status status = BIRD_OK;
    struct stat about;
    uint8_t *block = NULL;
    size_t used = 0, capacity;
    /* Do not wait for the writer of a pipe; this has no effect on files. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *data = NULL;
    *size = 0;
    if (file < 0) return bird_fail_io(err, errno, "cannot open the file");
    if (fstat(file, &about) != 0) {
        status = bird_fail_io(err, errno, "cannot read the file");
        goto cleanup;
    }
    if (S_ISDIR(about.st_mode)) {
        status = bird_fail_io(err, EISDIR, "expected an image file");
        goto cleanup;
    }
    if (!S_ISREG(about.st_mode)) {
        status = bird_fail_io(err, EINVAL, "expected an image file, got a pipe or device");
        goto cleanup;
    }
    /* One byte more than the size: a read that returns less is at the end of the file. */
    capacity = about.st_size > 0 ? (size_t)about.st_size + 1 : FIRST_PIECE;
    for (;;) {
        uint8_t *grown;
        if (capacity > BIRD_MAX_FILE_BYTES + 1) capacity = BIRD_MAX_FILE_BYTES + 1;
        grown = bird_realloc(block, used, capacity);
        if (!grown) BIRD_FAIL(BIRD_NOMEM, "out of memory for a file of %zu bytes", capacity);
        block = grown;
        BIRD_TRY(read_up_to(block, &used, capacity, file, err));
        if (used < capacity) break;
        if (used > BIRD_MAX_FILE_BYTES)
            BIRD_FAIL(BIRD_FORMAT, "file is larger than the limit of %zu MB",
                      BIRD_MAX_FILE_BYTES >> 20);
        capacity *= 2;
    }
    if (used == 0) BIRD_FAIL(BIRD_FORMAT, "file is empty (0 bytes)");
    *data = block;
    *size = used;
    block = NULL;
cleanup:
    close(file);
    bird_free(block);
    return status;
}

void bird_file_will_need(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return;
    posix_fadvise(file, 0, 0, POSIX_FADV_WILLNEED);
    close(file);
}
