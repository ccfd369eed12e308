/* Module functions about threads and the machine. */
#include "base/threads.h"
#include "python/glue.h"

static PyObject *set_num_threads(PyObject *module, PyObject *argument) {
    bird_error err;
    long n = PyLong_AsLong(argument);
    if (n == -1 && PyErr_Occurred()) return NULL;
    if (n < 0 || n > BIRD_MAX_THREADS) n = -1;
    if (bird_set_threads((int)n, &err) != BIRD_OK) return bird_raise(bird_get_state(module), &err);
    Py_RETURN_NONE;
}

static PyObject *get_num_threads(PyObject *module, PyObject *noargs) {
    (void)module;
    (void)noargs;
    return PyLong_FromLong(bird_default_threads());
}

static PyObject *available_cpus(PyObject *module, PyObject *noargs) {
    (void)module;
    (void)noargs;
    return PyLong_FromLong(bird_available_cpus());
}

PyMethodDef bird_system_methods[] = {
    {"set_num_threads", set_num_threads, METH_O,
     PyDoc_STR("Set the process-wide number of threads; 0 restores the default.")},
    {"get_num_threads", get_num_threads, METH_NOARGS,
     PyDoc_STR("Return the default number of threads.")},
    {"available_cpus", available_cpus, METH_NOARGS,
     PyDoc_STR("Return the number of CPUs that affinity and cgroup quota allow.")},
    {NULL, NULL, 0, NULL},
};
