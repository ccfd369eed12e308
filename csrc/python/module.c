/* The extension module birdembed._core: definition, state and start-up. */
#define BIRD_IMPORT_ARRAY
#include "python/glue.h"

#include <pthread.h>

#include "base/executor.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A daemon thread may still wait for the compute thread. Python calls this at its end, before the
 * handlers of C, which include the destructors of the oneDNN tables. If the list of Python is full,
 * the handler of the executor is used. */
static void close_at_exit(void) {
    (void)Py_AtExit(bird_executor_close);
}

static int module_exec(PyObject *module) {
    bird_state *state = bird_get_state(module);
    PyMethodDef *const tables[] = {bird_image_methods, bird_search_methods, bird_model_methods,
                                   bird_system_methods, bird_batch_methods, bird_view_methods};
    /* Not import_array(), which prints any error and replaces it by an ImportError: Ctrl-C while
     * NumPy is imported has to stay a KeyboardInterrupt. */
    if (_import_array() < 0) return -1;
    pthread_once(&once, close_at_exit);
    if (bird_add_errors(module, state) < 0) return -1;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (PyModule_AddFunctions(module, tables[i]) < 0) return -1;
    if (bird_add_network(module, state) < 0) return -1;
    return bird_add_trainer(module, state);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    bird_state *state = bird_get_state(module);
    Py_VISIT(state->error);
    Py_VISIT(state->decode_error);
    Py_VISIT(state->weights_error);
    Py_VISIT(state->fingerprint_mismatch);
    Py_VISIT(state->backend_error);
    Py_VISIT(state->network_type);
    Py_VISIT(state->trainer_type);
    return 0;
}

static int module_clear(PyObject *module) {
    bird_state *state = bird_get_state(module);
    Py_CLEAR(state->error);
    Py_CLEAR(state->decode_error);
    Py_CLEAR(state->weights_error);
    Py_CLEAR(state->fingerprint_mismatch);
    Py_CLEAR(state->backend_error);
    Py_CLEAR(state->network_type);
    Py_CLEAR(state->trainer_type);
    return 0;
}

static void module_free(void *module) {
    module_clear(module);
}

/* Py_mod_exec wants a function as void *, which ISO C has no cast for; POSIX does. */
static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "birdembed._core",
    .m_doc = "The C core of birdembed. Private: use the birdembed package.",
    .m_size = sizeof(bird_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void) {
    return PyModuleDef_Init(&module_def);
}
