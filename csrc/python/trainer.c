/* The type Trainer: a network in training, and the parts of one step. */
#include <string.h>

#include "base/threads.h"
#include "python/glue.h"
#include "python/parameters.h"
#include "train/survey.h"
#include "train/trainer.h"

typedef struct trainer {
    PyObject_HEAD
    bird_trainer *core; /* owned */
    bool busy;          /* read and written with the GIL: a call runs without it */
} trainer;

static bird_trainer *core_of(PyObject *self) {
    return ((trainer *)self)->core;
}

static bird_state *state_of(PyObject *self) {
    return PyType_GetModuleState(Py_TYPE(self));
}

static const bird_resnet *net_of(PyObject *self) {
    return bird_trainer_net(core_of(self));
}

/* False with an exception set while another thread's call (or, in a signal handler, the one
 * that was interrupted) is at work: the core's trainer is for one at a time. */
static bool idle(PyObject *self) {
    if (!((trainer *)self)->busy) return true;
    PyErr_SetString(PyExc_RuntimeError, "this trainer is at work in another call: one at a time");
    return false;
}

static void begin(PyObject *self, bird_unlocked *unlocked) {
    ((trainer *)self)->busy = true;
    bird_unlock(unlocked);
}

static void end(PyObject *self, bird_unlocked *unlocked) {
    bird_lock(unlocked);
    ((trainer *)self)->busy = false;
}

static PyObject *trainer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"architecture", "num_classes", "parameters", NULL};
    PyObject *architecture, *parameters;
    int num_classes;
    bird_error err;
    trainer *self;
    const bird_resnet_spec *spec;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "UiO", names, &architecture, &num_classes,
                                     &parameters))
        return NULL;
    spec = bird_find_spec(architecture);
    if (!spec) return NULL;
    self = (trainer *)allocate(type, 0);
    if (!self) return NULL;
    if (bird_trainer_create(&self->core, spec, num_classes, &err) != BIRD_OK) {
        bird_raise(state_of((PyObject *)self), &err);
        Py_DECREF(self);
        return NULL;
    }
    if (bird_fill_slab(bird_trainer_slab(self->core, BIRD_SLAB_PARAMS),
                       &bird_trainer_net(self->core)->params, parameters) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void trainer_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    bird_trainer_destroy(core_of(object));
    release(object);
    Py_DECREF(type);
}

static PyObject *trainer_configure(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"bn", "trainable", "bn_momentum", "precision", NULL};
    static const char *const modes[] = {
        [BIRD_BN_TRAIN] = "train",
        [BIRD_BN_FIXED_STATS] = "frozen_stats",
        [BIRD_BN_FROZEN] = "frozen",
    };
    const int n = net_of(self)->params.n;
    const char *bn, *precision = "float32";
    PyObject *list;
    float bn_momentum = 0.1f;
    bool *trainable;
    int mode = 0;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sO|fs", names, &bn, &list, &bn_momentum,
                                     &precision))
        return NULL;
    while (mode < 3 && strcmp(modes[mode], bn) != 0) mode++;
    if (mode == 3)
        return PyErr_Format(PyExc_ValueError,
                            "bn must be 'train', 'frozen_stats' or 'frozen', got '%s'", bn);
    if (strcmp(precision, "float32") != 0 && strcmp(precision, "bfloat16") != 0)
        return PyErr_Format(PyExc_ValueError,
                            "precision must be 'float32' or 'bfloat16', got '%s'", precision);
    if (!(bn_momentum >= 0 && bn_momentum <= 1)) {
        PyErr_SetString(PyExc_ValueError, "bn_momentum must be between 0 and 1");
        return NULL;
    }
    if (!PySequence_Check(list))
        return PyErr_Format(PyExc_TypeError, "trainable must be a sequence of bool, got %R",
                            Py_TYPE(list));
    if (PySequence_Size(list) != n) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "trainable must hold %d flags, got %zd", n,
                         PySequence_Size(list));
        return NULL;
    }
    trainable = PyMem_Calloc((size_t)n, sizeof *trainable);
    if (!trainable) return PyErr_NoMemory();
    for (int i = 0; i < n && !PyErr_Occurred(); i++) {
        PyObject *flag = PySequence_GetItem(list, i);
        int truth = flag ? PyObject_IsTrue(flag) : -1;
        Py_XDECREF(flag);
        trainable[i] = truth > 0;
    }
    if (!PyErr_Occurred() && idle(self))
        bird_trainer_configure(core_of(self), (bird_bn_mode)mode, trainable, bn_momentum,
                               strcmp(precision, "bfloat16") == 0 ? BIRD_BFLOAT16 : BIRD_FLOAT32);
    PyMem_Free(trainable);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *trainer_forward(PyObject *self, PyObject *args, PyObject *kwargs) {
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
        begin(self, &unlocked);
        status = bird_trainer_forward(core_of(self), PyArray_DATA(features),
                                      PyArray_DATA(pixels), (int)shape[0], (int)shape[2],
                                      bird_threads_or_default(n_threads), &unlocked.cancel, &err);
        end(self, &unlocked);
        if (status != BIRD_OK) {
            bird_raise(state_of(self), &err);
            Py_CLEAR(features);
        }
    }
    Py_DECREF(pixels);
    return (PyObject *)features;
}

/* NULL for None; a float32 array of that shape otherwise (columns 0: one dimension). */
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

/* False with an exception set: then there is no batch to hold an argument against. */
static bool has_batch(PyObject *self, const char *caller) {
    if (!idle(self)) return false;
    if (bird_trainer_batch(core_of(self)) > 0) return true;
    PyErr_Format(PyExc_ValueError, "%s needs a forward pass before it", caller);
    return false;
}

static PyObject *trainer_head_loss(PyObject *self, PyObject *args, PyObject *kwargs) {
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
        goto done;
    if (!targets) {
        PyErr_SetString(PyExc_TypeError, "targets must be an array, got None");
        goto done;
    }
    logits = bird_new_array(2, dims, NPY_FLOAT32);
    if (!logits) goto done;
    begin(self, &unlocked);
    status = bird_trainer_loss(core_of(self), &loss, PyArray_DATA(logits), PyArray_DATA(targets),
                               weights ? PyArray_DATA(weights) : NULL, &err);
    end(self, &unlocked);
    if (status == BIRD_OK)
        result = Py_BuildValue("dO", loss, (PyObject *)logits);
    else
        bird_raise(state_of(self), &err);
done:
    Py_XDECREF(targets);
    Py_XDECREF(weights);
    Py_XDECREF(logits);
    return result;
}

static PyObject *trainer_backward(PyObject *self, PyObject *args, PyObject *kwargs) {
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

static PyObject *trainer_grad_norm(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"num_threads", NULL};
    int n_threads = 0;
    double norm;
    bird_unlocked unlocked;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|i", names, &n_threads)) return NULL;
    if (!idle(self)) return NULL;
    begin(self, &unlocked);
    norm = bird_grad_norm(bird_trainer_slab(core_of(self), BIRD_SLAB_GRADS),
                          &net_of(self)->params, bird_trainer_trainable(core_of(self)),
                          bird_threads_or_default(n_threads));
    end(self, &unlocked);
    return PyFloat_FromDouble(norm);
}

static PyObject *trainer_apply(PyObject *self, PyObject *args, PyObject *kwargs) {
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
    if (!idle(self) || optional_array(&lr, given_lr, "lr", n, 0) < 0 ||
        optional_array(&decay, given_decay, "weight_decay", n, 0) < 0 || !lr || !decay) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "lr and weight_decay must be arrays, got None");
        Py_XDECREF(lr);
        Py_XDECREF(decay);
        return NULL;
    }
    begin(self, &unlocked);
    status = bird_trainer_apply(core_of(self), &how, PyArray_DATA(lr), PyArray_DATA(decay),
                                ema_decay, bird_threads_or_default(n_threads), &err);
    end(self, &unlocked);
    Py_DECREF(lr);
    Py_DECREF(decay);
    if (status != BIRD_OK) return bird_raise(state_of(self), &err);
    Py_RETURN_NONE;
}

static PyObject *copy_of(PyObject *self, bird_slab which) {
    const float *slab = bird_trainer_slab(core_of(self), which);
    if (!idle(self)) return NULL;
    if (!slab) Py_RETURN_NONE;
    return bird_copy_slab(slab, &net_of(self)->params);
}

static PyObject *trainer_parameters(PyObject *self, PyObject *noargs) {
    (void)noargs;
    return copy_of(self, BIRD_SLAB_PARAMS);
}

/* Gradients of what is not trained are left over from the kernels: zeros are handed out. */
static PyObject *trainer_gradients(PyObject *self, PyObject *noargs) {
    const bool *trainable = bird_trainer_trainable(core_of(self));
    PyObject *list = copy_of(self, BIRD_SLAB_GRADS);
    (void)noargs;
    for (int i = 0; list && i < net_of(self)->params.n; i++) {
        PyArrayObject *array = (PyArrayObject *)PyList_GetItem(list, i); /* borrowed */
        if (!trainable[i]) memset(PyArray_DATA(array), 0, (size_t)PyArray_NBYTES(array));
    }
    return list;
}

static PyObject *fill(PyObject *self, bird_slab which, PyObject *list) {
    const bool is_new = !bird_trainer_slab(core_of(self), which);
    float *slab;
    bird_error err;
    if (!idle(self)) return NULL;
    if (bird_trainer_need_slab(core_of(self), &slab, which, &err) != BIRD_OK)
        return bird_raise(state_of(self), &err);
    if (bird_fill_slab(slab, &net_of(self)->params, list) < 0) {
        if (is_new) bird_trainer_drop_slab(core_of(self), which);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *trainer_set_parameters(PyObject *self, PyObject *list) {
    return fill(self, BIRD_SLAB_PARAMS, list);
}

static PyObject *trainer_moments(PyObject *self, PyObject *noargs) {
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

static PyObject *trainer_set_moments(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {"moments", "step", NULL};
    const bird_slab slabs[] = {BIRD_SLAB_FIRST, BIRD_SLAB_SECOND};
    const char *const names[] = {"m", "v"};
    PyObject *dict;
    long step;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!l", keywords, &PyDict_Type, &dict, &step))
        return NULL;
    if (step < 0) return PyErr_Format(PyExc_ValueError, "step must not be negative, got %ld", step);
    if (!idle(self)) return NULL;
    for (int i = 0; i < 2; i++) {
        PyObject *list = PyDict_GetItemString(dict, names[i]); /* borrowed */
        if (!list) {
            bird_trainer_drop_slab(core_of(self), slabs[i]);
            continue;
        }
        PyObject *result = fill(self, slabs[i], list);
        if (!result) return NULL;
        Py_DECREF(result);
    }
    bird_trainer_set_steps(core_of(self), step);
    Py_RETURN_NONE;
}

static PyObject *trainer_ema(PyObject *self, PyObject *noargs) {
    (void)noargs;
    return copy_of(self, BIRD_SLAB_EMA);
}

static PyObject *trainer_set_ema(PyObject *self, PyObject *list) {
    if (!idle(self)) return NULL;
    if (list == Py_None) {
        bird_trainer_drop_slab(core_of(self), BIRD_SLAB_EMA);
        Py_RETURN_NONE;
    }
    return fill(self, BIRD_SLAB_EMA, list);
}

static PyObject *trainer_network(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ema", NULL};
    int ema = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|p", names, &ema)) return NULL;
    if (!idle(self)) return NULL;
    const float *slab =
        bird_trainer_slab(core_of(self), ema ? BIRD_SLAB_EMA : BIRD_SLAB_PARAMS);
    if (!slab) {
        PyErr_SetString(PyExc_ValueError, "no average of the weights is kept: ema_decay was 0");
        return NULL;
    }
    return bird_network_of_slab(state_of(self), net_of(self), slab);
}

static PyObject *trainer_step_count(PyObject *self, void *closure) {
    (void)closure;
    return PyLong_FromLong(bird_trainer_steps(core_of(self)));
}

static PyObject *trainer_nbytes(PyObject *self, void *closure) {
    (void)closure;
    if (!idle(self)) return NULL;
    return PyLong_FromSize_t(bird_trainer_size(core_of(self)));
}

#define WITH_KEYWORDS(function) \
    (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyMethodDef trainer_methods[] = {
    {"configure", WITH_KEYWORDS(trainer_configure),
     PyDoc_STR("configure(bn, trainable, bn_momentum=0.1, precision='float32'): what is trained")},
    {"forward", WITH_KEYWORDS(trainer_forward),
     PyDoc_STR("forward(pixels (n, 3, s, s), num_threads=0) -> features (n, num_features)")},
    {"head_loss", WITH_KEYWORDS(trainer_head_loss),
     PyDoc_STR("head_loss(targets (n, classes), weights=None) -> (loss, logits)")},
    {"backward", WITH_KEYWORDS(trainer_backward),
     PyDoc_STR("backward(d_features=None, accumulate=False, scale=1.0)")},
    {"grad_norm", WITH_KEYWORDS(trainer_grad_norm),
     PyDoc_STR("grad_norm(num_threads=0) -> Euclidean norm of all trainable gradients")},
    {"apply", WITH_KEYWORDS(trainer_apply),
     PyDoc_STR("apply(kind, lr, weight_decay, ...): one optimizer step")},
    {"gradients", trainer_gradients, METH_NOARGS, PyDoc_STR("gradients() -> list of copies")},
    {"parameters", trainer_parameters, METH_NOARGS, PyDoc_STR("parameters() -> list of copies")},
    {"set_parameters", trainer_set_parameters, METH_O, PyDoc_STR("set_parameters(list)")},
    {"moments", trainer_moments, METH_NOARGS, PyDoc_STR("moments() -> {'m': list, 'v': list}")},
    {"set_moments", WITH_KEYWORDS(trainer_set_moments),
     PyDoc_STR("set_moments(moments, step)")},
    {"ema", trainer_ema, METH_NOARGS, PyDoc_STR("ema() -> list of copies, or None")},
    {"set_ema", trainer_set_ema, METH_O, PyDoc_STR("set_ema(list or None)")},
    {"network", WITH_KEYWORDS(trainer_network),
     PyDoc_STR("network(ema=False) -> Network of the present weights")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef trainer_getset[] = {
    {"step_count", trainer_step_count, NULL, NULL, NULL},
    {"nbytes", trainer_nbytes, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot trainer_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Trainer(architecture, num_classes, parameters)")},
    {Py_tp_new, (void *)trainer_new},
    {Py_tp_dealloc, (void *)trainer_dealloc},
    {Py_tp_methods, trainer_methods},
    {Py_tp_getset, trainer_getset},
    {0, NULL},
};

static PyType_Spec trainer_spec = {
    .name = "birdembed._core.Trainer",
    .basicsize = sizeof(trainer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = trainer_slots,
};

int bird_add_trainer(PyObject *module, bird_state *state) {
    state->trainer_type = PyType_FromModuleAndSpec(module, &trainer_spec, NULL);
    if (!state->trainer_type) return -1;
    return PyModule_AddObjectRef(module, "Trainer", state->trainer_type);
}
