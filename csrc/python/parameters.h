/* Shared by Network and Trainer: names of architectures and precisions, and conversion of slabs of
 * parameters to lists of arrays and back. */
#ifndef BIRD_PYTHON_PARAMETERS_H
#define BIRD_PYTHON_PARAMETERS_H

#include <stdbool.h>

#include "model/resnet.h"
#include "nn/precision.h"
#include "python/glue.h"

/* Return the architecture with a name; NULL with an exception set if it is unknown. */
const bird_resnet_spec *bird_find_spec(PyObject *name);

/* Read the precision with a name; -1 with an exception set if it is unknown. */
int bird_read_precision(bird_precision *precision, const char *name);

/* Return the shape of a tensor as a tuple. New reference. */
PyObject *bird_param_shape(const bird_param *param);

/* Return the arrays of a sequence, one per tensor and in table order, as a new tuple of arrays that
 * cannot change; NULL with an exception that names the tensor if one does not match. All are
 * float32; with `float16`, some may be float16. A sequence may run arbitrary Python code, so
 * nothing is written here. */
PyObject *bird_take_parameters(const bird_params *params, PyObject *sequence, bool float16);

/* The same, but with an architecture instead of its parameter table, so that nothing large is
 * allocated before the check. */
PyObject *bird_take_parameters_of(bird_state *state, const bird_resnet_spec *spec,
                                  int num_classes, PyObject *sequence, bool float16);

/* Copy the result of bird_take_parameters to a slab. Runs no Python code. */
void bird_fill_slab(float *slab, const bird_params *params, PyObject *taken);

/* Write the float32 numbers of parameter `index` of `owner`. */
typedef void (*bird_read_fn)(const void *owner, int index, float *out);

/* Return a list of new arrays, written by `read`. New reference. */
PyObject *bird_list_parameters(const bird_params *params, bird_read_fn read, const void *owner);

/* Return a list of copies of the tensors of a slab. New reference. */
PyObject *bird_copy_slab(const float *slab, const bird_params *params);

/* Return a Network with those parameters. New reference. Defined in network.c. */
PyObject *bird_network_of_slab(bird_state *state, const bird_resnet *net, const float *slab);

#endif
