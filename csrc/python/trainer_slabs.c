/* Methods of Trainer that return copies of its slabs and set them: parameters, gradients,
 * moments, the average of the weights. */
#include <limits.h>
#include <string.h>

#include "python/parameters.h"
#include "python/trainer_internal.h"

static PyObject *copy_of(PyObject *self, bird_slab which) {
    const float *slab;
    PyObject *list;
    if (!idle(self)) return NULL;
    slab = bird_trainer_slab(core_of(self), which);
    if (!slab) Py_RETURN_NONE;
    /* Creating a list may collect garbage, and a finalizer may then call this trainer. */
    ((trainer_object *)self)->busy = true;
    list = bird_copy_slab(slab, &net_of(self)->params);
    ((trainer_object *)self)->busy = false;
    return list;
}

PyObject *bird_glue_trainer_parameters(PyObject *self, PyObject *noargs) {
    (void)noargs;
    return copy_of(self, BIRD_SLAB_PARAMS);
}

/* The kernels leave arbitrary numbers in the gradients of frozen parameters, so return zeros for
 * them. */
PyObject *bird_glue_trainer_gradients(PyObject *self, PyObject *noargs) {
    const bool *trainable = bird_trainer_trainable(core_of(self));
    PyObject *list = copy_of(self, BIRD_SLAB_GRADS);
    (void)noargs;
    for (int i = 0; list && i < net_of(self)->params.n; i++) {
        PyArrayObject *array = (PyArrayObject *)PyList_GetItem(list, i); /* borrowed */
        if (!trainable[i]) memset(PyArray_DATA(array), 0, (size_t)PyArray_NBYTES(array));
    }
    return list;
}

/* Write the arrays; no Python code runs between the check of `busy` and the end. */
static PyObject *fill_taken(PyObject *self, bird_slab which, PyObject *taken) {
    float *slab;
    bird_error err;
    if (!idle(self)) return NULL;
    if (bird_trainer_need_slab(core_of(self), &slab, which, &err) != BIRD_OK)
        return bird_raise(state_of(self), &err);
    bird_fill_slab(slab, &net_of(self)->params, taken);
    Py_RETURN_NONE;
}

static PyObject *fill(PyObject *self, bird_slab which, PyObject *list) {
    PyObject *taken = bird_take_parameters(&net_of(self)->params, list, false);
    PyObject *result = taken ? fill_taken(self, which, taken) : NULL;
    Py_XDECREF(taken);
    return result;
}

PyObject *bird_glue_trainer_set_parameters(PyObject *self, PyObject *list) {
    return fill(self, BIRD_SLAB_PARAMS, list);
}

PyObject *bird_glue_trainer_moments(PyObject *self, PyObject *noargs) {
    PyObject *dict = idle(self) ? PyDict_New() : NULL;
    const bird_slab slabs[] = {BIRD_SLAB_FIRST, BIRD_SLAB_SECOND};
    const char *const names[] = {"m", "v"};
    (void)noargs;
    for (int i = 0; dict && i < 2; i++) {
        PyObject *list;
        if (!bird_trainer_slab(core_of(self), slabs[i])) continue;
        list = copy_of(self, slabs[i]);
        if (!list || PyDict_SetItemString(dict, names[i], list) < 0) Py_CLEAR(dict);
        Py_XDECREF(list);
    }
    return dict;
}

PyObject *bird_glue_trainer_set_moments(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {"moments", "step", NULL};
    const bird_slab slabs[] = {BIRD_SLAB_FIRST, BIRD_SLAB_SECOND};
    const char *const names[] = {"m", "v"};
    PyObject *dict, *taken[2] = {NULL, NULL};
    const bird_params *params = &net_of(self)->params;
    long step;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!l", keywords, &PyDict_Type, &dict, &step))
        return NULL;
    if (step < 0 || step > LONG_MAX / 2) /* it is incremented later */
        return PyErr_Format(PyExc_ValueError, "step must not be negative, got %ld", step);
    /* Take both before writing the first. */
    for (int i = 0; i < 2; i++) {
        PyObject *list = PyDict_GetItemString(dict, names[i]); /* borrowed */
        if (!list) continue;
        Py_INCREF(list); /* its methods may remove it from the dict */
        taken[i] = bird_take_parameters(params, list, false);
        Py_DECREF(list);
        if (!taken[i]) goto cleanup;
    }
    for (int i = 0; i < 2; i++) {
        PyObject *result;
        if (taken[i]) {
            result = fill_taken(self, slabs[i], taken[i]);
        } else if (idle(self)) {
            bird_trainer_drop_slab(core_of(self), slabs[i]);
            result = Py_NewRef(Py_None);
        } else {
            result = NULL;
        }
        if (!result) goto cleanup;
        Py_DECREF(result);
    }
    bird_trainer_set_steps(core_of(self), step);
cleanup:
    Py_XDECREF(taken[0]);
    Py_XDECREF(taken[1]);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

PyObject *bird_glue_trainer_ema(PyObject *self, PyObject *noargs) {
    (void)noargs;
    return copy_of(self, BIRD_SLAB_EMA);
}

PyObject *bird_glue_trainer_set_ema(PyObject *self, PyObject *list) {
    if (!idle(self)) return NULL;
    if (list == Py_None) {
        bird_trainer_drop_slab(core_of(self), BIRD_SLAB_EMA);
        Py_RETURN_NONE;
    }
    return fill(self, BIRD_SLAB_EMA, list);
}
