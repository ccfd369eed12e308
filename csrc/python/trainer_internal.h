/* The object of the type Trainer and its methods, only for python/trainer*.c. */
#ifndef BIRD_PYTHON_TRAINER_INTERNAL_H
#define BIRD_PYTHON_TRAINER_INTERNAL_H

#include "python/glue.h"
#include "train/trainer.h"

typedef struct trainer_object {
    PyObject_HEAD
    bird_trainer *core; /* owned */
    bool busy;          /* true while a call runs; guarded by the GIL */
} trainer_object;

static inline bird_trainer *core_of(PyObject *self) {
    return ((trainer_object *)self)->core;
}

static inline bird_state *state_of(PyObject *self) {
    return PyType_GetModuleState(Py_TYPE(self));
}

static inline const bird_resnet *net_of(PyObject *self) {
    return bird_trainer_net(core_of(self));
}

/* Return false with an exception set if another call is running (of another thread, or the
 * interrupted call of a signal handler), because the trainer of the core allows one call at a
 * time. */
static inline bool idle(PyObject *self) {
    if (!((trainer_object *)self)->busy) return true;
    PyErr_SetString(PyExc_RuntimeError,
                    "this trainer is in use by another call; it allows one at a time");
    return false;
}

static inline void begin(PyObject *self, bird_unlocked *unlocked) {
    ((trainer_object *)self)->busy = true;
    bird_unlock(unlocked);
}

static inline void end(PyObject *self, bird_unlocked *unlocked) {
    bird_lock(unlocked);
    ((trainer_object *)self)->busy = false;
}

/* Methods: the parts of a step (trainer_step.c). */
PyObject *bird_glue_trainer_forward(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *bird_glue_trainer_head_loss(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *bird_glue_trainer_backward(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *bird_glue_trainer_grad_norm(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *bird_glue_trainer_apply(PyObject *self, PyObject *args, PyObject *kwargs);

/* Methods: copies of the slabs, and setting them (trainer_slabs.c). */
PyObject *bird_glue_trainer_parameters(PyObject *self, PyObject *noargs);
PyObject *bird_glue_trainer_gradients(PyObject *self, PyObject *noargs);
PyObject *bird_glue_trainer_set_parameters(PyObject *self, PyObject *list);
PyObject *bird_glue_trainer_moments(PyObject *self, PyObject *noargs);
PyObject *bird_glue_trainer_set_moments(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *bird_glue_trainer_ema(PyObject *self, PyObject *noargs);
PyObject *bird_glue_trainer_set_ema(PyObject *self, PyObject *list);

#endif
