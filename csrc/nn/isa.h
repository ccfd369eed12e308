/* The instruction set that oneDNN uses on this machine. Any thread. */
#ifndef BIRD_NN_ISA_H
#define BIRD_NN_ISA_H

#include <stdbool.h>

typedef enum bird_isa {
    BIRD_ISA_GENERIC, /* below AVX2: oneDNN's own choice */
    BIRD_ISA_AVX2,
    BIRD_ISA_AVX512
} bird_isa;

/* Return the class that nn/conv_table.h uses to choose kernels. ONEDNN_MAX_CPU_ISA lowers it. */
bird_isa bird_isa_get(void);

/* Return oneDNN's name of the instruction set, e.g. "AVX512_CORE_BF16". Static string. */
const char *bird_isa_name(void);

/* Return oneDNN's version at run time, e.g. "3.2.0", in a static buffer. */
const char *bird_onednn_version(void);

/* Return true if bfloat16 convolutions are native. */
bool bird_isa_has_bf16(void);

/* Return true if bfloat16 products run on AMX tiles. */
bool bird_isa_has_amx(void);

/* Return true if oneDNN has fast kernels for convolutions of bytes. */
bool bird_isa_has_int8(void);

/* Return the largest int8 weight for which no kernel on this machine overflows. Without VNNI the
 * kernels add two products of an unsigned byte and a weight in 16 bits. With weights of at most 64
 * the sum fits (2 * 255 * 64 < 2^15), with 127 it does not. */
int bird_isa_largest_int8_weight(void);

#endif
