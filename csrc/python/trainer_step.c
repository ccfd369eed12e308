/* Methods of Trainer that are the parts of one step: forward, loss, backward, norm, apply. */
#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "python/trainer_internal.h"
#include "train/reductions.h"

PyObject *bird_glue_trainer_forward(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"pixels", "num_threads", NULL};
    PyObject *given;
    int n_threads = 0;
    bird_unlocked unlocked;
    bird_status status;
    bird_error err;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|i", names, &given, &n_threads)) return NULL;
    PyArrayObject *pixels = bird_require_array(given, "pixels", NPY_FLOAT32, 4);
    if (!pixels) return NULL;
    const npy_intp *shape = PyArray_DIMS(pixels);
    if (shape[1] != 3 || shape[2] != shape[3] || shape[0] > 4096 || shape[2] > 4096) {
        PyErr_Format(PyExc_ValueError, "pixels must have shape (n, 3, size, size), got "
                     "(%zd, %zd, %zd, %zd)", (Py_ssize_t)shape[0], (Py_ssize_t)shape[1],
                     (Py_ssize_t)shape[2], (Py_ssize_t)shape[3]);
        Py_DECREF(pixels);
        return NULL;
    }
    const npy_intp dims[2] = {shape[0], net_of(self)->num_features};
    PyArrayObject *features = idle(self) ? bird_new_array(2, dims, NPY_FLOAT32) : NULL;
    if (features) {
        n_threads = bird_threads_or_default(n_threads);
        begin(self, &unlocked);
        status = bird_trainer_forward(core_of(self), PyArray_DATA(features),
                                      PyArray_DATA(pixels), (int)shape[0], (int)shape[2],
                                      n_threads, &unlocked.cancel, &err);
        end(self, &unlocked);
        if (status != BIRD_OK) bird_raise(state_of(self), &err);
        if (status != BIRD_OK || bird_warn_of_threads() < 0) Py_CLEAR(features);
    }
    Py_DECREF(pixels);
    return (PyObject *)features;
}

/* Set *array to NULL for None, otherwise to a float32 array of that shape (columns 0: one
 * dimension). */
static int optional_array(PyArrayObject **array, PyObject *object, const char *name, npy_intp rows,
                          npy_intp columns) {
    *array = NULL;
    if (!object || object == Py_None) return 0;
    *array = bird_require_array(object, name, NPY_FLOAT32, columns ? 2 : 1);
    if (!*array) return -1;
    if (PyArray_DIM(*array, 0) != rows || (columns && PyArray_DIM(*array, 1) != columns)) {
        if (columns)
            PyErr_Format(PyExc_ValueError, "%s must have shape (%zd, %zd), got (%zd, %zd)", name,
                         (Py_ssize_t)rows, (Py_ssize_t)columns,
                         (Py_ssize_t)PyArray_DIM(*array, 0), (Py_ssize_t)PyArray_DIM(*array, 1));
        else
            PyErr_Format(PyExc_ValueError, "%s must have shape (%zd,), got (%zd,)", name,
                         (Py_ssize_t)rows, (Py_ssize_t)PyArray_DIM(*array, 0));
        Py_CLEAR(*array);
        return -1;
    }
    return 0;
}

/* Return false with an exception set if there is no batch to check an argument against. */
static bool has_batch(PyObject *self, const char *caller) {
    if (!idle(self)) return false;
    if (bird_trainer_batch(core_of(self)) > 0) return true;
    PyErr_Format(PyExc_ValueError, "%s needs a forward pass first", caller);
    return false;
}

PyObject *bird_glue_trainer_head_loss(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"targets", "weights", NULL};
    PyObject *given, *given_weights = NULL, *result = NULL;
    PyArrayObject *targets = NULL, *weights = NULL, *logits = NULL;
    const npy_intp dims[2] = {bird_trainer_batch(core_of(self)), net_of(self)->num_classes};
    double loss;
    bird_unlocked unlocked;
    bird_status status;
    bird_error err;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", names, &given, &given_weights))
        return NULL;
    if (!has_batch(self, "head_loss")) return NULL;
    if (dims[1] == 0) {
        PyErr_SetString(PyExc_ValueError, "head_loss: this network has no classifier to train");
        return NULL;
    }
    if (optional_array(&targets, given, "targets", dims[0], dims[1]) < 0 ||
        optional_array(&weights, given_weights, "weights", dims[0], 0) < 0)
        goto cleanup;
    if (!targets) {
        PyErr_SetString(PyExc_TypeError, "targets must be an array, got None");
        goto cleanup;
    }
    logits = bird_new_array(2, dims, NPY_FLOAT32);
    if (!logits) goto cleanup;
    begin(self, &unlocked);
    status = bird_trainer_loss(core_of(self), &loss, PyArray_DATA(logits), PyArray_DATA(targets),
                               weights ? PyArray_DATA(weights) : NULL, &err);
    end(self, &unlocked);
    if (status == BIRD_OK)
        result = Py_BuildValue("dO", loss, (PyObject *)logits);
    else
        bird_raise(state_of(self), &err);
cleanup:
    Py_XDECREF(targets);
    Py_XDECREF(weights);
    Py_XDECREF(logits);
    return result;
}

PyObject *bird_glue_trainer_backward(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"d_features", "accumulate", "scale", NULL};
    PyObject *given = NULL;
    PyArrayObject *diff = NULL;
    int accumulate = 0;
    float scale = 1.0f;
    bird_unlocked unlocked;
    bird_status status;
    bird_error err;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|Opf", names, &given, &accumulate, &scale))
        return NULL;
    if (!has_batch(self, "backward") ||
        optional_array(&diff, given, "d_features", bird_trainer_batch(core_of(self)),
                       net_of(self)->num_features) < 0)
        return NULL;
    begin(self, &unlocked);
    status = bird_trainer_backward(core_of(self), diff ? PyArray_DATA(diff) : NULL, accumulate,
                                   scale, &unlocked.cancel, &err);
    end(self, &unlocked);
    Py_XDECREF(diff);
    if (status != BIRD_OK) return bird_raise(state_of(self), &err);
    Py_RETURN_NONE;
}

PyObject *bird_glue_trainer_grad_norm(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"num_threads", NULL};
    int n_threads = 0;
    double norm;
    bird_unlocked unlocked;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|i", names, &n_threads)) return NULL;
    if (!idle(self)) return NULL;
    n_threads = bird_threads_or_default(n_threads);
    begin(self, &unlocked);
    norm = bird_grad_norm(bird_trainer_slab(core_of(self), BIRD_SLAB_GRADS),
                          &net_of(self)->params, bird_trainer_trainable(core_of(self)), n_threads);
    end(self, &unlocked);
    return PyFloat_FromDouble(norm);
}

/* Return whether AdamW can use these values; sets a ValueError if not. They are checked as float32:
 * a double closer to 1 than 3e-8 has become 1. */
static bool check_adamw(const bird_optimizer *how) {
    const struct { const char *name; float value; } betas[] = {{"beta1", how->beta1},
                                                               {"beta2", how->beta2}};
    for (size_t i = 0; i < 2; i++) {
        if (betas[i].value >= 0 && betas[i].value < 1) continue; /* NaN is not */
        PyErr_Format(PyExc_ValueError, "%s must be at least 0 and, as float32, below 1",
                     betas[i].name);
        return false;
    }
    if (how->eps > 0 && how->eps < INFINITY) return true;
    PyErr_SetString(PyExc_ValueError, "eps must be finite and, as float32, above 0");
    return false;
}

PyObject *bird_glue_trainer_apply(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"kind",  "lr",    "weight_decay", "momentum",  "nesterov",
                            "beta1", "beta2", "eps",          "grad_scale", "ema_decay",
                            "num_threads", NULL};
    const npy_intp n = net_of(self)->params.n;
    bird_optimizer how = {.momentum = 0.9f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f,
                          .grad_scale = 1.0f};
    const char *kind;
    PyObject *given_lr, *given_decay;
    PyArrayObject *lr = NULL, *decay = NULL;
    float ema_decay = 0.0f;
    int nesterov = 0, n_threads = 0;
    bird_unlocked unlocked;
    bird_status status;
    bird_error err;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sOO|fpfffffi", names, &kind, &given_lr,
                                     &given_decay, &how.momentum, &nesterov, &how.beta1,
                                     &how.beta2, &how.eps, &how.grad_scale, &ema_decay,
                                     &n_threads))
        return NULL;
    how.nesterov = nesterov;
    if (strcmp(kind, "sgd") != 0 && strcmp(kind, "adamw") != 0)
        return PyErr_Format(PyExc_ValueError, "kind must be 'sgd' or 'adamw', got '%s'", kind);
    how.kind = strcmp(kind, "sgd") == 0 ? BIRD_SGD : BIRD_ADAMW;
    if (!check_adamw(&how)) return NULL;
    if (!idle(self) || optional_array(&lr, given_lr, "lr", n, 0) < 0 ||
        optional_array(&decay, given_decay, "weight_decay", n, 0) < 0 || !lr || !decay) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "lr and weight_decay must be arrays, got None");
        Py_XDECREF(lr);
        Py_XDECREF(decay);
        return NULL;
    }
    n_threads = bird_threads_or_default(n_threads);
    begin(self, &unlocked);
    status = bird_trainer_apply(core_of(self), &how, PyArray_DATA(lr), PyArray_DATA(decay),
                                ema_decay, n_threads, &err);
    end(self, &unlocked);
    Py_DECREF(lr);
    Py_DECREF(decay);
    if (status != BIRD_OK) return bird_raise(state_of(self), &err);
    Py_RETURN_NONE;
}
