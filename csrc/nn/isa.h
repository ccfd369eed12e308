/* Which instruction set oneDNN uses here. Any thread. */
#ifndef BIRD_NN_ISA_H
#define BIRD_NN_ISA_H

#include <stdbool.h>

typedef enum bird_isa {
    BIRD_ISA_GENERIC, /* below AVX2: whatever oneDNN picks */
    BIRD_ISA_AVX2,
    BIRD_ISA_AVX512
} bird_isa;

/* The class by which the kernel table chooses; ONEDNN_MAX_CPU_ISA lowers it. */
bird_isa bird_isa_get(void);

/* oneDNN's own name for it, e.g. "AVX512_CORE_BF16". Static. */
const char *bird_isa_name(void);

/* oneDNN's version at run time, e.g. "3.2.0", in a static buffer. */
const char *bird_onednn_version(void);

/* True where bfloat16 convolutions are native. */
bool bird_isa_has_bf16(void);

/* True where bfloat16 products run on tiles. */
bool bird_isa_has_amx(void);

/* True where oneDNN has fast kernels for convolutions of bytes. */
bool bird_isa_has_int8(void);

/* The largest weight that no kernel for bytes here multiplies wrongly. Without VNNI they add two
 * products of an unsigned byte and a weight in 16 bits: 2 * 255 * 64 fits, 2 * 255 * 127 not. */
int bird_isa_largest_int8_weight(void);

#endif
