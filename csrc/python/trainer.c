/* The type Trainer: a network in training. The methods for the parts of a step are in
 * trainer_step.c, and those that read and set its slabs in trainer_slabs.c. */
#include <string.h>

#include "python/parameters.h"
#include "python/trainer_internal.h"

static PyObject *trainer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"architecture", "num_classes", "parameters", NULL};
    PyObject *architecture, *parameters, *taken;
    bird_state *state = PyType_GetModuleState(type);
    int num_classes;
    bird_error err;
    trainer_object *self;
    const bird_resnet_spec *spec;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "UiO", names, &architecture, &num_classes,
                                     &parameters))
        return NULL;
    spec = bird_find_spec(architecture);
    if (!spec) return NULL;
    taken = bird_take_parameters_of(state, spec, num_classes, parameters, false);
    if (!taken) return NULL;
    self = (trainer_object *)allocate(type, 0);
    if (self && bird_trainer_create(&self->core, spec, num_classes, &err) != BIRD_OK) {
        bird_raise(state, &err);
        Py_CLEAR(self);
    }
    if (self)
        bird_fill_slab(bird_trainer_slab(self->core, BIRD_SLAB_PARAMS),
                       &bird_trainer_net(self->core)->params, taken);
    Py_DECREF(taken);
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
        [BIRD_BN_FROZEN_STATS] = "frozen_stats",
        [BIRD_BN_FROZEN] = "frozen",
    };
    const int n = net_of(self)->params.n;
    const char *bn, *named = "float32";
    bird_precision precision;
    PyObject *list;
    float bn_momentum = 0.1f;
    bool *trainable;
    int mode = 0;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sO|fs", names, &bn, &list, &bn_momentum,
                                     &named))
        return NULL;
    while (mode < 3 && strcmp(modes[mode], bn) != 0) mode++;
    if (mode == 3)
        return PyErr_Format(PyExc_ValueError,
                            "bn must be 'train', 'frozen_stats' or 'frozen', got '%s'", bn);
    if (bird_read_precision(&precision, named) < 0) return NULL;
    if (precision == BIRD_INT8)
        return PyErr_Format(PyExc_ValueError, "training in int8 is not supported");
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
                               precision);
    PyMem_Free(trainable);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *trainer_network(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ema", NULL};
    int ema = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|p", names, &ema)) return NULL;
    if (!idle(self)) return NULL;
    const float *slab =
        bird_trainer_slab(core_of(self), ema ? BIRD_SLAB_EMA : BIRD_SLAB_PARAMS);
    if (!slab) {
        PyErr_SetString(PyExc_ValueError, "there is no average of the weights: ema_decay was 0");
        return NULL;
    }
    ((trainer_object *)self)->busy = true; /* as in copy_of */
    PyObject *network = bird_network_of_slab(state_of(self), net_of(self), slab);
    ((trainer_object *)self)->busy = false;
    return network;
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
    {"forward", WITH_KEYWORDS(bird_glue_trainer_forward),
     PyDoc_STR("forward(pixels (n, 3, s, s), num_threads=0) -> features (n, num_features)")},
    {"head_loss", WITH_KEYWORDS(bird_glue_trainer_head_loss),
     PyDoc_STR("head_loss(targets (n, classes), weights=None) -> (loss, logits)")},
    {"backward", WITH_KEYWORDS(bird_glue_trainer_backward),
     PyDoc_STR("backward(d_features=None, accumulate=False, scale=1.0)")},
    {"grad_norm", WITH_KEYWORDS(bird_glue_trainer_grad_norm),
     PyDoc_STR("grad_norm(num_threads=0) -> Euclidean norm of all trainable gradients")},
    {"apply", WITH_KEYWORDS(bird_glue_trainer_apply),
     PyDoc_STR("apply(kind, lr, weight_decay, ...): one optimizer step")},
    {"gradients", bird_glue_trainer_gradients, METH_NOARGS,
     PyDoc_STR("gradients() -> list of copies")},
    {"parameters", bird_glue_trainer_parameters, METH_NOARGS,
     PyDoc_STR("parameters() -> list of copies")},
    {"set_parameters", bird_glue_trainer_set_parameters, METH_O, PyDoc_STR("set_parameters(list)")},
    {"moments", bird_glue_trainer_moments, METH_NOARGS,
     PyDoc_STR("moments() -> {'m': list, 'v': list}")},
    {"set_moments", WITH_KEYWORDS(bird_glue_trainer_set_moments),
     PyDoc_STR("set_moments(moments, step)")},
    {"ema", bird_glue_trainer_ema, METH_NOARGS, PyDoc_STR("ema() -> list of copies, or None")},
    {"set_ema", bird_glue_trainer_set_ema, METH_O, PyDoc_STR("set_ema(list or None)")},
    {"network", WITH_KEYWORDS(trainer_network),
     PyDoc_STR("network(ema=False) -> Network with the current weights")},
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
    .basicsize = sizeof(trainer_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = trainer_slots,
};

int bird_add_trainer(PyObject *module, bird_state *state) {
    state->trainer_type = PyType_FromModuleAndSpec(module, &trainer_spec, NULL);
    if (!state->trainer_type) return -1;
    return PyModule_AddObjectRef(module, "Trainer", state->trainer_type);
}
