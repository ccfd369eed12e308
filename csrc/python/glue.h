/* Shared by all files of the Python bindings: the state of the module, errors, arrays, Ctrl-C.
 *
 * The bindings are compiled against the Limited API (one abi3 wheel for every Python), are the
 * only code that includes Python.h and NumPy, and have no logic: each function parses its
 * arguments, releases the GIL around one core call, and builds the result.
 */
#ifndef BIRD_PYTHON_GLUE_H
#define BIRD_PYTHON_GLUE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL bird_array_api
#ifndef BIRD_IMPORT_ARRAY /* only module.c defines it, and calls import_array */
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include "base/cancel.h"
#include "base/status.h"

/* Per-module state; never a C global. */
typedef struct bird_state {
    PyObject *error;         /* owned: birdembed.BirdembedError */
    PyObject *decode_error;  /* owned */
    PyObject *weights_error; /* owned */
    PyObject *fingerprint_mismatch; /* owned */
    PyObject *backend_error; /* owned */
    PyObject *network_type;  /* owned: heap type */
    PyObject *trainer_type;  /* owned: heap type */
} bird_state;

bird_state *bird_get_state(PyObject *module);

/* Create the exception classes in the module; return -1 with an exception set on failure. */
int bird_add_errors(PyObject *module, bird_state *state);

/* Raise the exception for err->code (the only mapping table). For BIRD_CANCELLED the
 * exception of the signal handler is already set and is kept.
 * Returns NULL, so that callers can `return bird_raise(...)`. */
PyObject *bird_raise(bird_state *state, const bird_error *err);

/* Return a new array over the data of `object`, which must be a C-contiguous, aligned array of
 * exactly this dtype and number of dimensions; otherwise raise a TypeError or ValueError that
 * starts with `name`. Never converts; callers in Python do that explicitly. New reference. Its
 * shape cannot change, and the data does not move while it exists: it has a weak reference to
 * `object`, so NumPy refuses to resize `object`, even with refcheck=False. */
PyArrayObject *bird_require_array(PyObject *object, const char *name, int dtype, int ndim);

/* Return an uninitialised C-contiguous array. New reference. */
PyArrayObject *bird_new_array(int ndim, const npy_intp *dims, int dtype);

/* Release the GIL, with a cancel hook that takes it again to run the signal handlers.
 *
 *     bird_unlocked unlocked;
 *     bird_unlock(&unlocked);
 *     status = bird_core_call(..., &unlocked.cancel, &err);
 *     bird_lock(&unlocked);
 *
 * Find default numbers of threads before bird_unlock: they come from the environment, which Python
 * changes while it holds the GIL.
 *
 * After bird_lock an exception may be set (a KeyboardInterrupt). Then status is BIRD_CANCELLED,
 * unless the call finished before it checked. */
typedef struct bird_unlocked {
    bird_cancel cancel;
    PyThreadState *thread; /* borrowed from the interpreter */
} bird_unlocked;

/* Warn once per process if the system provided fewer threads than requested. Return -1 with an
 * exception set if warnings are errors. */
int bird_warn_of_threads(void);

void bird_unlock(bird_unlocked *unlocked);
void bird_lock(bird_unlocked *unlocked);

/* One table per file; each ends with an all-NULL entry. */
extern PyMethodDef bird_image_methods[];
extern PyMethodDef bird_search_methods[];
extern PyMethodDef bird_system_methods[];
extern PyMethodDef bird_model_methods[];
extern PyMethodDef bird_batch_methods[];
extern PyMethodDef bird_view_methods[];

/* Create the Network type (csrc/python/network.c) and add it to the module. */
int bird_add_network(PyObject *module, bird_state *state);

/* The same for Trainer (csrc/python/trainer.c). */
int bird_add_trainer(PyObject *module, bird_state *state);

#endif
