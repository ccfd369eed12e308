/* Softmax cross-entropy with soft targets. */
#ifndef BIRD_MODEL_LOSS_H
#define BIRD_MODEL_LOSS_H

#include <stddef.h>

/* Return the weighted mean over rows of -sum_c targets log softmax(logits), in double.
 *
 * logits, targets (n, classes); weights (n), or NULL: all 1. Label smoothing, mixup and class
 * weights are already contained in targets and weights. diff_logits (n, classes) receives the
 * gradient: w_row / sum(w) (softmax sum(targets) - targets). */
double bird_cross_entropy(float *diff_logits, const float *logits, const float *targets,
                          const float *weights, size_t n, size_t classes);

#endif
