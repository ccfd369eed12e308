/* Cosine search: module functions on NumPy arrays. */
#include "search/cosine.h"

#include "base/threads.h"
#include "python/glue.h"

/* The arrays of a call, held until the GIL has been taken again. */
typedef struct arguments {
    PyArrayObject *queries; /* owned: (q, dim) float32 */
    PyArrayObject *corpus;  /* owned: (n, dim) float32 */
    PyArrayObject *rows;    /* owned: (m,) int64, a copy, or NULL */
    bird_scan scan;
} arguments;

static void arguments_deinit(arguments *args) {
    Py_XDECREF((PyObject *)args->queries);
    Py_XDECREF((PyObject *)args->corpus);
    Py_XDECREF((PyObject *)args->rows);
}

static bool rows_in_range(PyArrayObject *rows, npy_intp n_corpus) {
    const int64_t *row = PyArray_DATA(rows);
    npy_intp n = PyArray_DIM(rows, 0);
    for (npy_intp i = 0; i < n; i++) {
        if (row[i] < 0 || row[i] >= n_corpus) {
            PyErr_Format(PyExc_IndexError, "rows[%zd] is %lld, the corpus has %zd rows",
                         (Py_ssize_t)i, (long long)row[i], (Py_ssize_t)n_corpus);
            return false;
        }
    }
    return true;
}

/* Check the arrays and fill args->scan. Return false with an exception set on failure. */
static bool arguments_init(arguments *args, PyObject *queries, PyObject *corpus, PyObject *rows,
                           int normalized) {
    args->queries = bird_require_array(queries, "queries", NPY_FLOAT32, 2);
    if (!args->queries) return false;
    args->corpus = bird_require_array(corpus, "corpus", NPY_FLOAT32, 2);
    if (!args->corpus) return false;
    if (PyArray_DIM(args->queries, 1) != PyArray_DIM(args->corpus, 1)) {
        PyErr_Format(PyExc_ValueError, "queries have %zd dimensions, the corpus has %zd",
                     (Py_ssize_t)PyArray_DIM(args->queries, 1),
                     (Py_ssize_t)PyArray_DIM(args->corpus, 1));
        return false;
    }
    if (PyArray_DIM(args->queries, 1) < 1) {
        PyErr_SetString(PyExc_ValueError, "queries must have at least one dimension, got 0");
        return false;
    }
    args->scan.n_rows = (size_t)PyArray_DIM(args->corpus, 0);
    if (rows != Py_None) {
        PyArrayObject *given = bird_require_array(rows, "rows", NPY_INT64, 1);
        if (!given) return false;
        /* A copy, because another thread may write to the array of the caller during the search. */
        args->rows = (PyArrayObject *)PyArray_NewCopy(given, NPY_CORDER);
        Py_DECREF((PyObject *)given);
        if (!args->rows || !rows_in_range(args->rows, PyArray_DIM(args->corpus, 0))) return false;
        args->scan.rows = PyArray_DATA(args->rows);
        args->scan.n_rows = (size_t)PyArray_DIM(args->rows, 0);
    }
    args->scan.queries = PyArray_DATA(args->queries);
    args->scan.n_queries = (size_t)PyArray_DIM(args->queries, 0);
    args->scan.corpus = PyArray_DATA(args->corpus);
    args->scan.n_corpus = (size_t)PyArray_DIM(args->corpus, 0);
    args->scan.dim = (size_t)PyArray_DIM(args->queries, 1);
    args->scan.normalized = normalized != 0;
    args->scan.n_threads = bird_default_threads();
    args->scan.dot = bird_dot_best();
    return true;
}

static PyObject *cosine_topk(PyObject *module, PyObject *args_tuple) {
    PyObject *queries, *corpus, *rows, *result = NULL;
    PyArrayObject *scores = NULL, *indices = NULL;
    arguments args = {0};
    Py_ssize_t k;
    int normalized;
    bird_unlocked unlocked;
    bird_status status;
    bird_error err;

    if (!PyArg_ParseTuple(args_tuple, "OOnpO", &queries, &corpus, &k, &normalized, &rows))
        return NULL;
    if (!arguments_init(&args, queries, corpus, rows, normalized)) goto cleanup;
    if (k < 1) {
        PyErr_Format(PyExc_ValueError, "k must be at least 1, got %zd", k);
        goto cleanup;
    }
    npy_intp dims[2] = {(npy_intp)args.scan.n_queries, (npy_intp)k};
    scores = bird_new_array(2, dims, NPY_FLOAT32);
    indices = bird_new_array(2, dims, NPY_INT64);
    if (!scores || !indices) goto cleanup;

    bird_unlock(&unlocked);
    status = bird_cosine_topk(PyArray_DATA(scores), PyArray_DATA(indices), &args.scan, (size_t)k,
                              &unlocked.cancel, &err);
    bird_lock(&unlocked);
    if (status != BIRD_OK)
        bird_raise(bird_get_state(module), &err);
    else if (!PyErr_Occurred())
        result = PyTuple_Pack(2, (PyObject *)scores, (PyObject *)indices);
cleanup:
    Py_XDECREF((PyObject *)scores);
    Py_XDECREF((PyObject *)indices);
    arguments_deinit(&args);
    return result;
}

static PyObject *cosine_matrix(PyObject *module, PyObject *args_tuple) {
    PyObject *queries, *corpus;
    PyArrayObject *scores = NULL;
    arguments args = {0};
    bird_unlocked unlocked;
    bird_status status;
    bird_error err;

    if (!PyArg_ParseTuple(args_tuple, "OO", &queries, &corpus)) return NULL;
    if (!arguments_init(&args, queries, corpus, Py_None, 0)) goto cleanup;
    npy_intp dims[2] = {(npy_intp)args.scan.n_queries, (npy_intp)args.scan.n_rows};
    scores = bird_new_array(2, dims, NPY_FLOAT32);
    if (!scores) goto cleanup;

    bird_unlock(&unlocked);
    status = bird_cosine_matrix(PyArray_DATA(scores), &args.scan, &unlocked.cancel, &err);
    bird_lock(&unlocked);
    if (status != BIRD_OK) bird_raise(bird_get_state(module), &err);
    if (PyErr_Occurred()) Py_CLEAR(scores);
cleanup:
    arguments_deinit(&args);
    return (PyObject *)scores;
}

static PyObject *search_isa(PyObject *module, PyObject *noargs) {
    (void)module;
    (void)noargs;
    return PyUnicode_FromString(bird_dot_best()->isa);
}

PyMethodDef bird_search_methods[] = {
    {"cosine_topk", cosine_topk, METH_VARARGS,
     PyDoc_STR("cosine_topk(queries, corpus, k, normalized, rows) -> (scores, indices)")},
    {"cosine_matrix", cosine_matrix, METH_VARARGS,
     PyDoc_STR("cosine_matrix(queries, corpus) -> scores")},
    {"search_isa", search_isa, METH_NOARGS,
     PyDoc_STR("Return the instruction set that the dot products use.")},
    {NULL, NULL, 0, NULL},
};
