/* Module functions about networks in general: architectures, and the backend of this machine. */
#include "base/finite.h"
#include "model/linear.h"
#include "nn/isa.h"
#include "python/glue.h"
#include "python/parameters.h"

static PyObject *parameter_table(PyObject *module, PyObject *args) {
    PyObject *architecture, *list = NULL;
    int num_classes;
    bird_resnet *net = NULL;
    bird_error err;
    const bird_resnet_spec *spec;

    if (!PyArg_ParseTuple(args, "Ui", &architecture, &num_classes)) return NULL;
    spec = bird_find_spec(architecture);
    if (!spec) return NULL;
    if (bird_resnet_create(&net, spec, num_classes, &err) != BIRD_OK)
        return bird_raise(bird_get_state(module), &err);
    list = PyList_New(net->params.n);
    for (int i = 0; list && i < net->params.n; i++) {
        PyObject *shape = bird_param_shape(&net->params.items[i]);
        PyObject *row = shape ? Py_BuildValue("sN", net->params.items[i].name, shape) : NULL;
        if (!row || PyList_SetItem(list, i, row) < 0) Py_CLEAR(list);
    }
    bird_resnet_destroy(net);
    return list;
}

static PyObject *architectures(PyObject *module, PyObject *noargs) {
    PyObject *list = PyList_New(0);
    const bird_resnet_spec *spec;
    (void)module;
    (void)noargs;
    for (int i = 0; list && (spec = bird_resnet_spec_at(i)); i++) {
        PyObject *name = PyUnicode_FromString(spec->name);
        if (!name || PyList_Append(list, name) < 0) Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return list;
}

static PyObject *num_features(PyObject *module, PyObject *architecture) {
    const bird_resnet_spec *spec;
    (void)module;
    spec = bird_find_spec(architecture);
    return spec ? PyLong_FromLong(bird_resnet_num_features(spec)) : NULL;
}

static PyObject *linear(PyObject *module, PyObject *args) {
    PyObject *given_src, *given_weights;
    PyArrayObject *src = NULL, *weights = NULL, *dst = NULL;
    (void)module;

    if (!PyArg_ParseTuple(args, "OO", &given_src, &given_weights)) return NULL;
    src = bird_require_array(given_src, "src", NPY_FLOAT32, 2);
    if (src) weights = bird_require_array(given_weights, "weights", NPY_FLOAT32, 2);
    if (weights && PyArray_DIM(weights, 1) != PyArray_DIM(src, 1))
        PyErr_Format(PyExc_ValueError, "src has %zd columns, weights %zd",
                     (Py_ssize_t)PyArray_DIM(src, 1), (Py_ssize_t)PyArray_DIM(weights, 1));
    else if (weights) {
        const npy_intp dims[2] = {PyArray_DIM(src, 0), PyArray_DIM(weights, 0)};
        dst = bird_new_array(2, dims, NPY_FLOAT32);
    }
    if (dst) {
        Py_BEGIN_ALLOW_THREADS
        bird_linear(PyArray_DATA(dst), PyArray_DATA(src), PyArray_DATA(weights), NULL,
                    (size_t)PyArray_DIM(src, 0), (size_t)PyArray_DIM(src, 1),
                    (size_t)PyArray_DIM(weights, 0));
        Py_END_ALLOW_THREADS
    }
    Py_XDECREF(src);
    Py_XDECREF(weights);
    return (PyObject *)dst;
}

static PyObject *all_finite(PyObject *module, PyObject *given) {
    const bool is_float16 =
        PyArray_Check(given) && PyArray_TYPE((PyArrayObject *)given) == NPY_FLOAT16;
    PyArrayObject *array =
        bird_require_array(given, "numbers", is_float16 ? NPY_FLOAT16 : NPY_FLOAT32, 1);
    bool finite;
    (void)module;

    if (!array) return NULL;
    const size_t n = (size_t)PyArray_DIM(array, 0);
    Py_BEGIN_ALLOW_THREADS
    finite = is_float16 ? bird_all_finite16(PyArray_DATA(array), n, 1)
                        : bird_all_finite(PyArray_DATA(array), n, 1);
    Py_END_ALLOW_THREADS
    Py_DECREF(array);
    return PyBool_FromLong(finite);
}

static PyObject *backend(PyObject *module, PyObject *noargs) {
    (void)module;
    (void)noargs;
    return Py_BuildValue("{s:s,s:s,s:O,s:O}", "onednn", bird_onednn_version(), "isa",
                         bird_isa_name(), "bfloat16", bird_isa_has_bf16() ? Py_True : Py_False,
                         "int8", bird_isa_has_int8() ? Py_True : Py_False);
}

PyMethodDef bird_model_methods[] = {
    {"parameter_table", parameter_table, METH_VARARGS,
     PyDoc_STR("parameter_table(architecture, num_classes) -> list of (name, shape)")},
    {"architectures", architectures, METH_NOARGS, PyDoc_STR("Return all architecture names.")},
    {"num_features", num_features, METH_O,
     PyDoc_STR("num_features(architecture) -> channels of its last feature map")},
    {"linear", linear, METH_VARARGS,
     PyDoc_STR("linear(src (n, ic), weights (oc, ic)) -> (n, oc), each sum in a fixed order")},
    {"all_finite", all_finite, METH_O,
     PyDoc_STR("all_finite(numbers (n), float32 or float16) -> bool: no NaN, no infinity")},
    {"backend", backend, METH_NOARGS, PyDoc_STR("Return oneDNN's version and instruction set.")},
    {NULL, NULL, 0, NULL},
};
