/* Run the fuzz target on mutations of the tiny pictures, the same ones in every run. */
#include "../../fuzz/fuzz_decode.c"
#include "../../fuzz/mutate.h"

#include <stdlib.h>

#include "check.h"
#include "pictures.h"

enum { ROUNDS = 1500 };

int main(void) {
    for (int p = 0; p < N_PICTURES; p++) {
        uint32_t state = 0x9E3779B9u + (uint32_t)p;
        for (int round = 0; round < ROUNDS; round++) {
            /* A block of exactly this size, so that the sanitizer sees a read beyond it. */
            uint8_t *room = malloc(pictures[p].size + MUTATE_ROOM), *exact;
            size_t size;
            memcpy(room, pictures[p].data, pictures[p].size);
            size = mutate(room, pictures[p].size, &state);
            if (round % 2 == 0 && room[0] == 0x89) mend_png(room, size);
            exact = malloc(size);
            memcpy(exact, room, size);
            CHECK(LLVMFuzzerTestOneInput(exact, size) == 0);
            free(exact);
            free(room);
        }
    }
    return check_failures;
}
