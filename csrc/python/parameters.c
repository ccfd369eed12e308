#include "python/parameters.h"

#include <string.h>

const bird_resnet_spec *bird_find_spec(PyObject *name) {
    const char *text = PyUnicode_AsUTF8AndSize(name, NULL);
    const bird_resnet_spec *spec;
    if (!text) return NULL;
    spec = bird_resnet_find(text);
    if (!spec) PyErr_Format(PyExc_ValueError, "unknown architecture %R", name);
    return spec;
}

int bird_read_precision(bird_precision *precision, const char *name) {
    static const char *const names[] = {[BIRD_FLOAT32] = "float32", [BIRD_BFLOAT16] = "bfloat16",
                                        [BIRD_INT8] = "int8"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) != 0) continue;
        *precision = (bird_precision)i;
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "precision must be 'float32', 'bfloat16' or 'int8', got '%s'",
                 name);
    return -1;
}

PyObject *bird_param_shape(const bird_param *param) {
    PyObject *shape = PyTuple_New(param->ndim);
    for (int i = 0; shape && i < param->ndim; i++) {
        PyObject *size = PyLong_FromSize_t(param->dims[i]);
        if (!size || PyTuple_SetItem(shape, i, size) < 0) Py_CLEAR(shape);
    }
    return shape;
}

/* Return the array of one tensor. New reference. */
static PyArrayObject *take_one(const bird_param *param, PyObject *object, bool float16) {
    const bool is_float16 = float16 && PyArray_Check(object) &&
                            PyArray_TYPE((PyArrayObject *)object) == NPY_FLOAT16;
    PyArrayObject *array = bird_require_array(
        object, param->name, is_float16 ? NPY_FLOAT16 : NPY_FLOAT32, param->ndim);
    bool fits = true;
    if (!array) return NULL;
    for (int i = 0; i < param->ndim; i++)
        if ((size_t)PyArray_DIM(array, i) != param->dims[i]) fits = false;
    if (!fits) {
        PyObject *expected = bird_param_shape(param);
        PyObject *found = PyObject_GetAttrString((PyObject *)array, "shape");
        if (expected && found)
            PyErr_Format(PyExc_ValueError, "%s must have shape %R, got %R", param->name, expected,
                         found);
        Py_XDECREF(expected);
        Py_XDECREF(found);
        Py_CLEAR(array);
    }
    return array;
}

PyObject *bird_take_parameters(const bird_params *params, PyObject *sequence, bool float16) {
    Py_ssize_t given = PySequence_Size(sequence);
    PyObject *taken;
    if (given < 0) return NULL;
    if (given != params->n)
        return PyErr_Format(PyExc_ValueError, "parameters must hold %d arrays, got %zd", params->n,
                            given);
    taken = PyTuple_New(params->n);
    for (int i = 0; taken && i < params->n; i++) {
        PyObject *object = PySequence_GetItem(sequence, i);
        PyArrayObject *array = object ? take_one(&params->items[i], object, float16) : NULL;
        Py_XDECREF(object);
        if (!array || PyTuple_SetItem(taken, i, (PyObject *)array) < 0) Py_CLEAR(taken);
    }
    return taken;
}

PyObject *bird_take_parameters_of(bird_state *state, const bird_resnet_spec *spec,
                                  int num_classes, PyObject *sequence, bool float16) {
    bird_resnet *net;
    bird_error err;
    PyObject *taken;
    if (bird_resnet_create(&net, spec, num_classes, &err) != BIRD_OK)
        return bird_raise(state, &err);
    taken = bird_take_parameters(&net->params, sequence, float16);
    bird_resnet_destroy(net);
    return taken;
}

void bird_fill_slab(float *slab, const bird_params *params, PyObject *taken) {
    for (int i = 0; i < params->n; i++) {
        const bird_param *param = &params->items[i];
        PyArrayObject *array = (PyArrayObject *)PyTuple_GetItem(taken, i); /* borrowed */
        memcpy(slab + param->offset, PyArray_DATA(array), param->count * sizeof *slab);
    }
}

PyObject *bird_list_parameters(const bird_params *params, bird_read_fn read, const void *owner) {
    PyObject *list = PyList_New(params->n);
    for (int i = 0; list && i < params->n; i++) {
        const bird_param *param = &params->items[i];
        npy_intp dims[4];
        for (int d = 0; d < param->ndim; d++) dims[d] = (npy_intp)param->dims[d];
        PyArrayObject *array = bird_new_array(param->ndim, dims, NPY_FLOAT32);
        if (array) read(owner, i, PyArray_DATA(array));
        if (!array || PyList_SetItem(list, i, (PyObject *)array) < 0) Py_CLEAR(list);
    }
    return list;
}

typedef struct slab_of {
    const float *slab;
    const bird_params *params;
} slab_of;

/* A bird_read_fn. */
static void read_slab(const void *owner, int index, float *out) {
    const slab_of *from = owner;
    const bird_param *param = &from->params->items[index];
    memcpy(out, from->slab + param->offset, param->count * sizeof *out);
}

PyObject *bird_copy_slab(const float *slab, const bird_params *params) {
    const slab_of from = {slab, params};
    return bird_list_parameters(params, read_slab, &from);
}
