#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bird_status bird_fail(bird_error *err, bird_status code, const char *format, ...) {
    if (err) {
        va_list args;
        err->code = code;
        err->sys_errno = 0;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
    }
    return code;
}

bird_status bird_fail_io(bird_error *err, int sys_errno, const char *format, ...) {
    if (err) {
        va_list args;
        char reason[128] = "";
        err->code = BIRD_IO;
        err->sys_errno = sys_errno;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        /* The XSI strerror_r: returns int and always writes into the buffer. */
        if (strerror_r(sys_errno, reason, sizeof reason) == 0) {
            size_t used = strlen(err->message);
            snprintf(err->message + used, sizeof err->message - used, ": %s", reason);
        }
    }
    return BIRD_IO;
}
