/* What Network and Trainer share: names of architectures and precisions, and slabs of parameters
 * to lists of arrays and back. */
#ifndef BIRD_PYTHON_PARAMETERS_H
#define BIRD_PYTHON_PARAMETERS_H

#include "model/resnet.h"
#include "nn/precision.h"
#include "python/glue.h"

/* The architecture of that name; NULL with an exception set where there is none. */
const bird_resnet_spec *bird_find_spec(PyObject *name);

/* The precision of that name; -1 with an exception set where there is none. */
int bird_read_precision(bird_precision *precision, const char *name);

/* A tensor's shape as a tuple. New reference. */
PyObject *bird_param_shape(const bird_param *param);

/* The arrays of a sequence, one a tensor and in the table's order, as a new tuple of arrays that
 * stay as they are; NULL with an exception that names the tensor where one does not fit. A
 * sequence may run Python code that calls whatever it likes, so nothing is written here. */
PyObject *bird_take_parameters(const bird_params *params, PyObject *sequence);

/* The same by an architecture's name, before anything of that size is allocated. */
PyObject *bird_take_parameters_of(bird_state *state, const bird_resnet_spec *spec,
                                  int num_classes, PyObject *sequence);

/* Copy what bird_take_parameters took into a slab. Runs no Python code. */
void bird_fill_slab(float *slab, const bird_params *params, PyObject *taken);

/* A list of copies. New reference. */
PyObject *bird_copy_slab(const float *slab, const bird_params *params);

/* A Network with those parameters. New reference. Defined in network.c. */
PyObject *bird_network_of_slab(bird_state *state, const bird_resnet *net, const float *slab);

#endif
