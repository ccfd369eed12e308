/* Status codes and the error record that every fallible core function fills.
 *
 * A function that can fail returns bird_status and takes a `bird_error *err` last.
 * `err` may be NULL (the caller wants the code only). The record lives on the
 * caller's stack, so reporting an error never allocates, and worker threads each
 * report into a record of their own.
 */
#ifndef BIRD_BASE_STATUS_H
#define BIRD_BASE_STATUS_H

typedef enum bird_status {
    BIRD_OK = 0,
    BIRD_NOMEM,       /* allocation failed                      -> MemoryError */
    BIRD_ARG,         /* an argument's value is out of range    -> ValueError */
    BIRD_SHAPE,       /* shapes do not match                    -> ValueError */
    BIRD_IO,          /* system error, see sys_errno            -> OSError */
    BIRD_FORMAT,      /* a file or stream is invalid            -> DecodeError */
    BIRD_UNSUPPORTED, /* valid, but not supported here          -> DecodeError */
    BIRD_BACKEND,     /* oneDNN failed                          -> BackendError */
    BIRD_CANCELLED    /* the cancel hook returned true */
} bird_status;

enum { BIRD_MESSAGE_SIZE = 512 };

typedef struct bird_error {
    bird_status code;
    int sys_errno;                   /* errno of a BIRD_IO error, else 0 */
    char message[BIRD_MESSAGE_SIZE]; /* lower case, names argument, expected, found */
} bird_error;

/* Fill `err` (if not NULL) and return `code`. */
bird_status bird_fail(bird_error *err, bird_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Like bird_fail for BIRD_IO; also stores `sys_errno` and adds its text to the message. */
bird_status bird_fail_io(bird_error *err, int sys_errno, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Both macros need a local `bird_status status` and a label `cleanup`. */
#define BIRD_TRY(expr)                           \
    do {                                         \
        status = (expr);                         \
        if (status != BIRD_OK) goto cleanup;     \
    } while (0)

#define BIRD_FAIL(...)                           \
    do {                                         \
        status = bird_fail(err, __VA_ARGS__);    \
        goto cleanup;                            \
    } while (0)

#endif
