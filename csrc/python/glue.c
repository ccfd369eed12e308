#include "python/glue.h"

#include <errno.h>

#include "nn/team.h"

bird_state *bird_get_state(PyObject *module) {
    return PyModule_GetState(module);
}

/* Create a class `name` of the package, derived from `base` and, if it is not NULL, from
 * `second`. */
static PyObject *add_error(PyObject *module, const char *name, const char *doc, PyObject *base,
                           PyObject *second) {
    PyObject *bases = second ? PyTuple_Pack(2, base, second) : PyTuple_Pack(1, base);
    PyObject *error = NULL;
    char qualified[64];
    if (!bases) return NULL;
    PyOS_snprintf(qualified, sizeof qualified, "birdembed.%s", name);
    error = PyErr_NewExceptionWithDoc(qualified, doc, bases, NULL);
    Py_DECREF(bases);
    if (error && PyModule_AddObjectRef(module, name, error) < 0) Py_CLEAR(error);
    return error;
}

int bird_add_errors(PyObject *module, bird_state *state) {
    state->error = add_error(module, "BirdembedError", "Root of the package's own errors.",
                             PyExc_Exception, NULL);
    if (!state->error) return -1;
    state->decode_error =
        add_error(module, "DecodeError", "An image is missing or cannot be decoded.",
                  state->error, PyExc_ValueError);
    state->weights_error =
        add_error(module, "WeightsError", "Weights are missing, damaged or of another network.",
                  state->error, PyExc_ValueError);
    state->fingerprint_mismatch = add_error(
        module, "FingerprintMismatch", "Vectors of two different models were about to be mixed.",
        state->error, PyExc_ValueError);
    state->backend_error = add_error(module, "BackendError", "oneDNN refused a request.",
                                     state->error, PyExc_RuntimeError);
    if (!state->decode_error || !state->weights_error || !state->fingerprint_mismatch ||
        !state->backend_error)
        return -1;
    return 0;
}

PyObject *bird_raise(bird_state *state, const bird_error *err) {
    switch (err->code) {
        case BIRD_OK:
            PyErr_SetString(PyExc_SystemError, "birdembed raised without an error");
            break;
        case BIRD_NOMEM:
            PyErr_SetString(PyExc_MemoryError, err->message);
            break;
        case BIRD_ARG:
        case BIRD_SHAPE:
            PyErr_SetString(PyExc_ValueError, err->message);
            break;
        case BIRD_IO:
            errno = err->sys_errno;
            PyErr_SetString(PyExc_OSError, err->message);
            break;
        case BIRD_FORMAT:
        case BIRD_UNSUPPORTED:
            PyErr_SetString(state->decode_error, err->message);
            break;
        case BIRD_BACKEND:
            PyErr_SetString(state->backend_error, err->message);
            break;
        case BIRD_CANCELLED:
            if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
            break;
    }
    return NULL;
}

/* See bird_require_array. */
static PyArrayObject *pinned(PyArrayObject *array) {
    PyObject *weak = PyWeakref_NewRef((PyObject *)array, NULL);
    PyObject *owners = weak ? PyTuple_Pack(2, weak, (PyObject *)array) : NULL;
    PyObject *view = NULL;
    Py_XDECREF(weak);
    if (!owners) return NULL;
    view = PyArray_SimpleNewFromData(PyArray_NDIM(array), PyArray_DIMS(array),
                                     PyArray_TYPE(array), PyArray_DATA(array));
    if (!view) {
        Py_DECREF(owners);
        return NULL;
    }
    if (!PyArray_ISWRITEABLE(array)) PyArray_CLEARFLAGS((PyArrayObject *)view, NPY_ARRAY_WRITEABLE);
    /* This takes over `owners`, even if it fails. */
    if (PyArray_SetBaseObject((PyArrayObject *)view, owners) < 0) Py_CLEAR(view);
    return (PyArrayObject *)view;
}

PyArrayObject *bird_require_array(PyObject *object, const char *name, int dtype, int ndim) {
    PyArrayObject *array;
    if (!PyArray_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be a NumPy array, got %R", name, Py_TYPE(object));
        return NULL;
    }
    array = (PyArrayObject *)object;
    if (PyArray_TYPE(array) != dtype) {
        PyArray_Descr *wanted = PyArray_DescrFromType(dtype);
        PyErr_Format(PyExc_TypeError, "%s must have dtype %S, got %S", name, (PyObject *)wanted,
                     (PyObject *)PyArray_DESCR(array));
        Py_XDECREF(wanted);
        return NULL;
    }
    if (PyArray_NDIM(array) != ndim) {
        PyErr_Format(PyExc_ValueError, "%s must have %d dimensions, got %d", name, ndim,
                     PyArray_NDIM(array));
        return NULL;
    }
    if (!PyArray_IS_C_CONTIGUOUS(array) || !PyArray_ISALIGNED(array) ||
        !PyArray_ISNOTSWAPPED(array)) {
        PyErr_Format(PyExc_ValueError, "%s must be C-contiguous, aligned and in native byte order",
                     name);
        return NULL;
    }
    return pinned(array);
}

PyArrayObject *bird_new_array(int ndim, const npy_intp *dims, int dtype) {
    return (PyArrayObject *)PyArray_SimpleNew(ndim, dims, dtype);
}

int bird_warn_of_threads(void) {
    int wanted, given;
    char text[192];
    if (!bird_team_shortage(&wanted, &given)) return 0;
    PyOS_snprintf(text, sizeof text,
                  "the system gives the process %d of %d threads (a limit on processes, as of "
                  "ulimit -u or a container): it computes with fewer",
                  given, wanted);
    /* The warning does not refer to a line of the program. */
    return PyErr_WarnExplicit(PyExc_RuntimeWarning, text, "birdembed", 0, "birdembed", NULL);
}

static bool signal_came(void *context) {
    bird_unlocked *unlocked = context;
    bool stop;
    PyEval_RestoreThread(unlocked->thread);
    /* Python runs handlers only on its main thread; on other threads this is 0 at once. */
    stop = PyErr_CheckSignals() != 0;
    unlocked->thread = PyEval_SaveThread();
    return stop;
}

void bird_unlock(bird_unlocked *unlocked) {
    bird_cancel_init(&unlocked->cancel, signal_came, unlocked);
    unlocked->thread = PyEval_SaveThread();
}

void bird_lock(bird_unlocked *unlocked) {
    PyEval_RestoreThread(unlocked->thread);
}
