/* Read whole files into memory. */
#ifndef BIRD_IMAGE_READ_FILE_H
#define BIRD_IMAGE_READ_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Read the file at `path` (bytes as the system takes them, NUL-terminated). The caller owns
 * *data and frees it with bird_free. BIRD_IO with errno on a system error or if the path is not
 * a regular file (a directory, a pipe), BIRD_FORMAT for an empty file and one above
 * BIRD_MAX_FILE_BYTES. */
bird_status bird_read_file(uint8_t **data, size_t *size, const char *path, bird_error *err);

/* Tell the system that the file will be read soon; never fails, never waits for the disk. */
void bird_file_will_need(const char *path);

#endif
