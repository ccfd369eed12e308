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

PyObject *bird_param_shape(const bird_param *param) {
    PyObject *shape = PyTuple_New(param->ndim);
    for (int i = 0; shape && i < param->ndim; i++) {
        PyObject *size = PyLong_FromSize_t(param->dims[i]);
        if (!size || PyTuple_SetItem(shape, i, size) < 0) Py_CLEAR(shape);
    }
    return shape;
}

/* `to` NULL: only see whether it fits. */
static int fill_one(float *to, const bird_param *param, PyObject *object) {
    PyArrayObject *array = bird_require_array(object, param->name, NPY_FLOAT32, param->ndim);
    int result = 0;
    if (!array) return -1;
    for (int i = 0; i < param->ndim; i++)
        if ((size_t)PyArray_DIM(array, i) != param->dims[i]) result = -1;
    if (result < 0) {
        PyObject *expected = bird_param_shape(param);
        PyObject *found = PyObject_GetAttrString(object, "shape");
        if (expected && found)
            PyErr_Format(PyExc_ValueError, "%s must have shape %R, got %R", param->name, expected,
                         found);
        Py_XDECREF(expected);
        Py_XDECREF(found);
    } else if (to) {
        memcpy(to, PyArray_DATA(array), param->count * sizeof *to);
    }
    Py_DECREF(array);
    return result;
}

int bird_fill_slab(float *slab, const bird_params *params, PyObject *sequence) {
    Py_ssize_t given = PySequence_Size(sequence);
    if (given < 0) return -1;
    if (given != params->n) {
        PyErr_Format(PyExc_ValueError, "parameters must hold %d arrays, got %zd", params->n,
                     given);
        return -1;
    }
    for (int i = 0; i < 2 * params->n; i++) { /* once to check all, once to copy all */
        const bird_param *param = &params->items[i % params->n];
        float *to = i < params->n ? NULL : slab + param->offset;
        PyObject *object = PySequence_GetItem(sequence, i % params->n);
        int result = object ? fill_one(to, param, object) : -1;
        Py_XDECREF(object);
        if (result < 0) return -1;
    }
    return 0;
}

PyObject *bird_copy_slab(const float *slab, const bird_params *params) {
    PyObject *list = PyList_New(params->n);
    for (int i = 0; list && i < params->n; i++) {
        const bird_param *param = &params->items[i];
        npy_intp dims[4];
        for (int d = 0; d < param->ndim; d++) dims[d] = (npy_intp)param->dims[d];
        PyArrayObject *array = bird_new_array(param->ndim, dims, NPY_FLOAT32);
        if (array) memcpy(PyArray_DATA(array), slab + param->offset, param->count * sizeof *slab);
        if (!array || PyList_SetItem(list, i, (PyObject *)array) < 0) Py_CLEAR(list);
    }
    return list;
}
