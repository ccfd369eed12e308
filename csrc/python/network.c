/* The type Network: one immutable set of weights and its forward passes. */
#include "base/threads.h"
#include "model/inference.h"
#include "model/inference_plan.h"
#include "model/statistics.h"
#include "python/glue.h"
#include "python/parameters.h"

typedef struct network {
    PyObject_HEAD
    bird_weights *weights;     /* owned reference */
    bird_inference *inference; /* owned */
} network;

static bird_state *state_of(PyObject *self) {
    return PyType_GetModuleState(Py_TYPE(self));
}

/* Allocate a network without weights. New reference. */
static network *allocate_network(PyTypeObject *type, bird_state *state,
                                 const bird_resnet_spec *spec, int num_classes) {
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    network *self = (network *)allocate(type, 0);
    bird_error err;
    if (!self) return NULL;
    if (bird_weights_create(&self->weights, spec, num_classes, &err) != BIRD_OK ||
        bird_inference_create(&self->inference, self->weights, &err) != BIRD_OK) {
        bird_raise(state, &err);
        Py_CLEAR(self);
    }
    return self;
}

/* Set the ranges (bird_resnet_n_ranges) that int8 needs in a new network. Return -1 with an
 * exception set on failure. */
static int take_ranges(network *self, bird_state *state, PyObject *given) {
    const int n_ranges = bird_resnet_n_ranges(bird_weights_net(self->weights));
    PyArrayObject *ranges = bird_require_array(given, "ranges", NPY_FLOAT32, 1);
    bird_error err;
    int taken = -1;

    if (!ranges) return -1;
    if (PyArray_DIM(ranges, 0) != n_ranges)
        PyErr_Format(PyExc_ValueError, "ranges must hold %d numbers, got %zd", n_ranges,
                     (Py_ssize_t)PyArray_DIM(ranges, 0));
    else if (bird_weights_set_ranges(self->weights, PyArray_DATA(ranges), &err) != BIRD_OK)
        bird_raise(state, &err);
    else
        taken = 0;
    Py_DECREF(ranges);
    return taken;
}

/* Copy the result of bird_take_parameters into a new network. Return -1 with an exception set on
 * failure. */
static int fill(network *self, bird_state *state, PyObject *taken) {
    const int n = bird_weights_net(self->weights)->params.n;
    bird_numbers *given = PyMem_Calloc((size_t)n, sizeof *given);
    const int n_threads = bird_default_threads();
    bird_status status;
    bird_error err;

    if (!given) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = 0; i < n; i++) {
        PyArrayObject *array = (PyArrayObject *)PyTuple_GetItem(taken, i); /* borrowed */
        given[i] = (bird_numbers){PyArray_DATA(array), PyArray_TYPE(array) == NPY_FLOAT16};
    }
    Py_BEGIN_ALLOW_THREADS
    status = bird_weights_fill(self->weights, given, n_threads, &err);
    Py_END_ALLOW_THREADS
    PyMem_Free(given);
    if (status == BIRD_OK) return 0;
    bird_raise(state, &err);
    return -1;
}

static PyObject *network_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"architecture", "num_classes", "parameters", "ranges", NULL};
    PyObject *architecture, *parameters, *taken, *ranges = NULL;
    bird_state *state = PyType_GetModuleState(type);
    int num_classes;
    network *self;
    const bird_resnet_spec *spec;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "UiO|O", names, &architecture, &num_classes,
                                     &parameters, &ranges))
        return NULL;
    spec = bird_find_spec(architecture);
    if (!spec) return NULL;
    taken = bird_take_parameters_of(state, spec, num_classes, parameters, true);
    if (!taken) return NULL;
    self = allocate_network(type, state, spec, num_classes);
    if (self && fill(self, state, taken) < 0) Py_CLEAR(self);
    Py_DECREF(taken);
    if (self && ranges && ranges != Py_None && take_ranges(self, state, ranges) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

PyObject *bird_network_of_slab(bird_state *state, const bird_resnet *net, const float *slab) {
    network *self = allocate_network((PyTypeObject *)state->network_type, state, net->spec,
                                     net->num_classes);
    const int n_threads = bird_default_threads();
    bird_error err;
    if (self && bird_weights_fill_slab(self->weights, slab, n_threads, &err) != BIRD_OK) {
        bird_raise(state, &err);
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static void network_dealloc(PyObject *object) {
    network *self = (network *)object;
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    bird_inference_destroy(self->inference);
    bird_weights_release(self->weights);
    release(object);
    Py_DECREF(type);
}

/* Return `object` as (n, 3, h, w) float32 pixels. New reference. */
static PyArrayObject *require_pixels(PyObject *object) {
    PyArrayObject *pixels = bird_require_array(object, "pixels", NPY_FLOAT32, 4);
    if (pixels && PyArray_DIM(pixels, 1) != 3) {
        PyErr_Format(PyExc_ValueError, "pixels must have shape (n, 3, h, w), got %zd channels",
                     (Py_ssize_t)PyArray_DIM(pixels, 1));
        Py_CLEAR(pixels);
    }
    if (pixels && (PyArray_DIM(pixels, 2) > BIRD_MAX_SIDE ||
                   PyArray_DIM(pixels, 3) > BIRD_MAX_SIDE)) {
        PyErr_Format(PyExc_ValueError,
                     "images for the network must have sides of %d to %d pixels, got %zdx%zd",
                     BIRD_MIN_SIDE, BIRD_MAX_SIDE, (Py_ssize_t)PyArray_DIM(pixels, 2),
                     (Py_ssize_t)PyArray_DIM(pixels, 3));
        Py_CLEAR(pixels);
    }
    return pixels;
}

static PyObject *network_features(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"pixels", "gem", "num_threads", "precision", NULL};
    network *self = (network *)object;
    PyObject *given;
    const char *named = "float32";
    bird_precision precision;
    int gem = 0, n_threads = 0;
    bird_unlocked unlocked;
    bird_status status;
    bird_error err;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|pis", names, &given, &gem, &n_threads,
                                     &named))
        return NULL;
    if (bird_read_precision(&precision, named) < 0) return NULL;
    PyArrayObject *pixels = require_pixels(given);
    if (!pixels) return NULL;
    const npy_intp n = PyArray_DIM(pixels, 0);
    const npy_intp dims[2] = {n, bird_weights_net(self->weights)->num_features};
    PyArrayObject *features = bird_new_array(2, dims, NPY_FLOAT32);
    if (features) {
        n_threads = bird_threads_or_default(n_threads);
        bird_unlock(&unlocked);
        status = bird_inference_features(
            self->inference, PyArray_DATA(features), PyArray_DATA(pixels), (size_t)n,
            (int)PyArray_DIM(pixels, 2), (int)PyArray_DIM(pixels, 3),
            precision, gem ? BIRD_POOL_GEM : BIRD_POOL_AVERAGE, n_threads, &unlocked.cancel, &err);
        bird_lock(&unlocked);
        if (status != BIRD_OK) bird_raise(state_of(object), &err);
        if (status != BIRD_OK || bird_warn_of_threads() < 0) Py_CLEAR(features);
    }
    Py_DECREF(pixels);
    return (PyObject *)features;
}

static PyObject *network_maps(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"pixels", "num_threads", "precision", NULL};
    network *self = (network *)object;
    PyObject *given;
    const char *named = "float32";
    bird_precision precision;
    int n_threads = 0;
    bird_unlocked unlocked;
    bird_status status;
    bird_error err;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|is", names, &given, &n_threads, &named))
        return NULL;
    if (bird_read_precision(&precision, named) < 0) return NULL;
    PyArrayObject *pixels = require_pixels(given);
    if (!pixels) return NULL;
    const npy_intp n = PyArray_DIM(pixels, 0);
    const int height = (int)PyArray_DIM(pixels, 2), width = (int)PyArray_DIM(pixels, 3);
    const npy_intp dims[4] = {n, bird_weights_net(self->weights)->num_features,
                              bird_inference_map_side(height), bird_inference_map_side(width)};
    PyArrayObject *maps = bird_new_array(4, dims, NPY_FLOAT32);
    if (maps) {
        n_threads = bird_threads_or_default(n_threads);
        bird_unlock(&unlocked);
        status = bird_inference_maps(self->inference, PyArray_DATA(maps), PyArray_DATA(pixels),
                                     (size_t)n, height, width, precision, n_threads,
                                     &unlocked.cancel, &err);
        bird_lock(&unlocked);
        if (status != BIRD_OK) bird_raise(state_of(object), &err);
        if (status != BIRD_OK || bird_warn_of_threads() < 0) Py_CLEAR(maps);
    }
    Py_DECREF(pixels);
    return (PyObject *)maps;
}

static PyObject *network_largest(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"pixels", "num_threads", NULL};
    network *self = (network *)object;
    PyObject *given;
    int n_threads = 0;
    bird_unlocked unlocked;
    bird_status status;
    bird_error err;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|i", names, &given, &n_threads)) return NULL;
    PyArrayObject *pixels = require_pixels(given);
    if (!pixels) return NULL;
    const npy_intp n = PyArray_DIM(pixels, 0);
    const npy_intp dims[2] = {n, bird_resnet_n_ranges(bird_weights_net(self->weights))};
    PyArrayObject *largest = bird_new_array(2, dims, NPY_FLOAT32);
    if (largest) {
        n_threads = bird_threads_or_default(n_threads);
        bird_unlock(&unlocked);
        status = bird_inference_largest(
            self->inference, PyArray_DATA(largest), PyArray_DATA(pixels), (size_t)n,
            (int)PyArray_DIM(pixels, 2), (int)PyArray_DIM(pixels, 3), n_threads,
            &unlocked.cancel, &err);
        bird_lock(&unlocked);
        if (status != BIRD_OK) bird_raise(state_of(object), &err);
        if (status != BIRD_OK || bird_warn_of_threads() < 0) Py_CLEAR(largest);
    }
    Py_DECREF(pixels);
    return (PyObject *)largest;
}

static PyObject *network_head(PyObject *object, PyObject *argument) {
    network *self = (network *)object;
    const bird_resnet *net = bird_weights_net(self->weights);
    PyArrayObject *features = bird_require_array(argument, "features", NPY_FLOAT32, 2);
    PyArrayObject *out = NULL;
    bird_status status;
    bird_error err;

    if (!features) return NULL;
    if (PyArray_DIM(features, 1) != net->num_features) {
        PyErr_Format(PyExc_ValueError, "features must have %d columns, got %zd",
                     net->num_features, (Py_ssize_t)PyArray_DIM(features, 1));
        Py_DECREF(features);
        return NULL;
    }
    const npy_intp dims[2] = {PyArray_DIM(features, 0), net->num_classes};
    out = bird_new_array(2, dims, NPY_FLOAT32);
    if (out) {
        Py_BEGIN_ALLOW_THREADS
        status = bird_weights_head(self->weights, PyArray_DATA(out), PyArray_DATA(features),
                                   (size_t)dims[0], &err);
        Py_END_ALLOW_THREADS
        if (status != BIRD_OK) {
            bird_raise(state_of(object), &err);
            Py_CLEAR(out);
        }
    }
    Py_DECREF(features);
    return (PyObject *)out;
}

static PyObject *network_conv_statistics(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"pixels", "num_threads", NULL};
    network *self = (network *)object;
    const bird_params *params = &bird_weights_net(self->weights)->params;
    PyObject *given, *list = NULL;
    int n_threads = 0;
    bird_unlocked unlocked;
    bird_status status;
    bird_error err;
    float *stats;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|i", names, &given, &n_threads)) return NULL;
    PyArrayObject *pixels = require_pixels(given);
    if (!pixels) return NULL;
    if (PyArray_DIM(pixels, 2) != PyArray_DIM(pixels, 3) ||
        PyArray_DIM(pixels, 2) < BIRD_MIN_SIDE || PyArray_DIM(pixels, 0) < 1) {
        PyErr_SetString(PyExc_ValueError, "pixels must have shape (n, 3, size, size), n >= 1");
        Py_DECREF(pixels);
        return NULL;
    }
    stats = PyMem_Calloc(params->slab_count, sizeof *stats);
    if (!stats) {
        Py_DECREF(pixels);
        return PyErr_NoMemory();
    }
    n_threads = bird_threads_or_default(n_threads);
    bird_unlock(&unlocked);
    status = bird_conv_statistics(self->weights, stats, PyArray_DATA(pixels),
                                  (int)PyArray_DIM(pixels, 0), (int)PyArray_DIM(pixels, 2),
                                  n_threads, &unlocked.cancel, &err);
    bird_lock(&unlocked);
    if (status == BIRD_OK)
        list = bird_copy_slab(stats, params);
    else
        bird_raise(state_of(object), &err);
    PyMem_Free(stats);
    Py_DECREF(pixels);
    return list;
}

/* A bird_read_fn. */
static void read_parameter(const void *weights, int index, float *out) {
    bird_weights_read(weights, index, out);
}

static PyObject *network_parameters(PyObject *object, PyObject *noargs) {
    network *self = (network *)object;
    (void)noargs;
    return bird_list_parameters(&bird_weights_net(self->weights)->params, read_parameter,
                                self->weights);
}

static PyObject *network_architecture(PyObject *object, void *closure) {
    (void)closure;
    return PyUnicode_FromString(bird_weights_net(((network *)object)->weights)->spec->name);
}

static PyObject *network_num_classes(PyObject *object, void *closure) {
    (void)closure;
    return PyLong_FromLong(bird_weights_net(((network *)object)->weights)->num_classes);
}

static PyObject *network_num_features(PyObject *object, void *closure) {
    (void)closure;
    return PyLong_FromLong(bird_weights_net(((network *)object)->weights)->num_features);
}

static PyMethodDef network_methods[] = {
    {"features", (PyCFunction)(void (*)(void))network_features, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("features(pixels, gem=False, num_threads=0, precision='float32') "
               "-> (n, num_features) float32")},
    {"maps", (PyCFunction)(void (*)(void))network_maps, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("maps(pixels, num_threads=0, precision='float32') "
               "-> (n, num_features, h/32, w/32) float32")},
    {"largest", (PyCFunction)(void (*)(void))network_largest, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("largest(pixels, num_threads=0) -> (n, convolutions + 1) float32: the "
               "largest absolute output of each convolution and, last, of the pixels")},
    {"head", network_head, METH_O,
     PyDoc_STR("head(features) -> (n, num_classes) float32 logits")},
    {"conv_statistics",
     (PyCFunction)(void (*)(void))network_conv_statistics, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("conv_statistics(pixels, num_threads=0) -> list like parameters(), with mean and "
               "variance of the convolution's output as running_mean and running_var")},
    {"parameters", network_parameters, METH_NOARGS,
     PyDoc_STR("parameters() -> list of float32 copies, in parameter_table's order")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef network_getset[] = {
    {"architecture", network_architecture, NULL, NULL, NULL},
    {"num_classes", network_num_classes, NULL, NULL, NULL},
    {"num_features", network_num_features, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot network_slots[] = {
    {Py_tp_doc,
     (void *)PyDoc_STR("Network(architecture, num_classes, parameters, ranges=None): parameters "
                       "are float32 or float16, in parameter_table's order")},
    {Py_tp_new, (void *)network_new},
    {Py_tp_dealloc, (void *)network_dealloc},
    {Py_tp_methods, network_methods},
    {Py_tp_getset, network_getset},
    {0, NULL},
};

static PyType_Spec network_spec = {
    .name = "birdembed._core.Network",
    .basicsize = sizeof(network),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = network_slots,
};

int bird_add_network(PyObject *module, bird_state *state) {
    state->network_type = PyType_FromModuleAndSpec(module, &network_spec, NULL);
    if (!state->network_type) return -1;
    return PyModule_AddObjectRef(module, "Network", state->network_type);
}
