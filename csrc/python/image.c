/* Images: decoding, preparing batches, resizing. A source is a str (a path), bytes (the contents of
 * a file) or a uint8 array (height, width, 1 | 3 | 4). */
#include <limits.h>
#include <string.h>

#include "base/threads.h"
#include "image/decode.h"
#include "image/prepare.h"
#include "image/read_file.h"
#include "python/glue.h"
#include "python/sources.h"

/* Describe `object` as a source. *keep becomes a new reference to the owner of the memory that the
 * source borrows. Return -1 with an exception set if the object is not a source. */
static int parse_source(bird_source *source, PyObject **keep, PyObject *object) {
    Py_ssize_t size;
    char *bytes;
    *keep = NULL;
    memset(source, 0, sizeof *source);
    if (PyUnicode_Check(object)) {
        PyObject *path = NULL;
        if (!PyUnicode_FSConverter(object, &path)) return -1; /* rejects embedded NULs */
        if (PyBytes_AsStringAndSize(path, &bytes, &size) < 0) {
            Py_DECREF(path);
            return -1;
        }
        source->kind = BIRD_PATH;
        source->path = bytes;
        *keep = path;
        return 0;
    }
    if (PyBytes_Check(object)) {
        if (PyBytes_AsStringAndSize(object, &bytes, &size) < 0) return -1;
        source->kind = BIRD_BYTES;
        source->data = (const uint8_t *)bytes;
        source->size = (size_t)size;
        Py_INCREF(object);
        *keep = object;
        return 0;
    }
    PyArrayObject *array = bird_require_array(object, "source", NPY_UINT8, 3);
    if (!array) return -1;
    source->kind = BIRD_ARRAY;
    source->data = PyArray_DATA(array);
    source->height = (size_t)PyArray_DIM(array, 0);
    source->width = (size_t)PyArray_DIM(array, 1);
    source->channels = PyArray_DIM(array, 2) > 4 ? 5 : (int)PyArray_DIM(array, 2);
    *keep = (PyObject *)array;
    return 0;
}

int bird_parse_filter(bird_filter *filter, const char *name) {
    if (strcmp(name, "bilinear") == 0) {
        *filter = BIRD_BILINEAR;
    } else if (strcmp(name, "bicubic") == 0) {
        *filter = BIRD_BICUBIC;
    } else {
        PyErr_Format(PyExc_ValueError,
                     "interpolation must be 'bilinear' or 'bicubic', got '%s'", name);
        return -1;
    }
    return 0;
}

int bird_parse_fit(bird_fit *fit, const char *name) {
    if (strcmp(name, "squash") == 0) {
        *fit = BIRD_SQUASH;
    } else if (strcmp(name, "shortest") == 0) {
        *fit = BIRD_SHORTEST;
    } else {
        PyErr_Format(PyExc_ValueError, "resize must be 'squash' or 'shortest', got '%s'", name);
        return -1;
    }
    return 0;
}

static PyObject *decode(PyObject *module, PyObject *object) {
    bird_source source;
    bird_image image;
    bird_error err;
    bird_status status;
    bird_unlocked unlocked;
    PyArrayObject *array;
    PyObject *keep;
    if (parse_source(&source, &keep, object) < 0) return NULL;
    bird_unlock(&unlocked);
    status = bird_load_source(&image, &source, &err);
    bird_lock(&unlocked);
    Py_DECREF(keep);
    if (status != BIRD_OK) return bird_raise(bird_get_state(module), &err);
    npy_intp dims[3] = {(npy_intp)image.height, (npy_intp)image.width, 3};
    array = bird_new_array(3, dims, NPY_UINT8);
    if (array) memcpy(PyArray_DATA(array), image.pixels, image.height * image.width * 3);
    bird_image_deinit(&image);
    return (PyObject *)array;
}

static const char *kind_of(bird_status code) {
    switch (code) {
        case BIRD_OK: return "";
        case BIRD_NOMEM: return "memory";
        case BIRD_IO: return "io";
        case BIRD_FORMAT: return "format";
        case BIRD_UNSUPPORTED: return "unsupported";
        default: return "argument";
    }
}

PyObject *bird_outcome_list(const bird_error *outcomes, Py_ssize_t n) {
    PyObject *list = PyList_New(n);
    for (Py_ssize_t i = 0; list && i < n; i++) {
        const char *text = outcomes[i].code == BIRD_OK ? "" : outcomes[i].message;
        PyObject *message = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
        PyObject *pair = message ? Py_BuildValue("(sN)", kind_of(outcomes[i].code), message) : NULL;
        if (!pair || PyList_SetItem(list, i, pair) < 0) Py_CLEAR(list);
    }
    return list;
}

bird_source *bird_parse_sources(PyObject *items, Py_ssize_t n, PyObject *keep) {
    bird_source *sources = PyMem_Malloc((n > 0 ? (size_t)n : 1) * sizeof *sources);
    if (!sources) return (bird_source *)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *one, *item = PyTuple_GetItem(items, i);
        int failed = !item || parse_source(&sources[i], &one, item) < 0;
        if (!failed) {
            failed = PyList_Append(keep, one) < 0;
            Py_DECREF(one);
        }
        if (failed) {
            PyMem_Free(sources);
            return NULL;
        }
    }
    return sources;
}

static PyObject *prepare_parsed(PyObject *module, const bird_source *sources, Py_ssize_t n,
                                const bird_preprocess *cfg, int n_threads) {
    bird_error err, *outcomes = PyMem_Malloc((n > 0 ? (size_t)n : 1) * sizeof *outcomes);
    bird_status status = bird_preprocess_check(cfg, &err);
    bird_unlocked unlocked;
    PyArrayObject *pixels = NULL;
    PyObject *result = NULL, *list;
    if (!outcomes) return PyErr_NoMemory();
    if (status != BIRD_OK) {
        bird_raise(bird_get_state(module), &err);
        goto cleanup;
    }
    npy_intp dims[4] = {n, 3, cfg->size, cfg->size};
    pixels = bird_new_array(4, dims, NPY_FLOAT32);
    if (!pixels) goto cleanup;
    bird_unlock(&unlocked);
    status = bird_prepare(PyArray_DATA(pixels), outcomes, sources, (size_t)n, cfg, n_threads,
                          &unlocked.cancel, &err);
    bird_lock(&unlocked);
    if (status != BIRD_OK) {
        bird_raise(bird_get_state(module), &err);
        goto cleanup;
    }
    list = bird_outcome_list(outcomes, n);
    if (list) result = Py_BuildValue("(ON)", (PyObject *)pixels, list);
cleanup:
    Py_XDECREF(pixels);
    PyMem_Free(outcomes);
    return result;
}

static PyObject *prepare(PyObject *module, PyObject *args) {
    bird_preprocess cfg;
    bird_source *sources = NULL;
    PyObject *items, *tuple = NULL, *keep = NULL, *result = NULL;
    const char *fit, *filter;
    int n_threads, mirrored = 0;
    if (!PyArg_ParseTuple(args, "Oisds(fff)(fff)i|p:prepare", &items, &cfg.size, &fit,
                          &cfg.crop_pct, &filter, &cfg.mean[0], &cfg.mean[1], &cfg.mean[2],
                          &cfg.std[0], &cfg.std[1], &cfg.std[2], &n_threads, &mirrored))
        return NULL;
    cfg.mirrored = mirrored;
    if (bird_parse_fit(&cfg.fit, fit) < 0 || bird_parse_filter(&cfg.filter, filter) < 0)
        return NULL;
    n_threads = bird_threads_or_default(n_threads);
    /* A new tuple, because other threads may change the list of the caller. */
    tuple = PySequence_Tuple(items);
    keep = tuple ? PyList_New(0) : NULL;
    if (keep) {
        Py_ssize_t n = PyTuple_Size(tuple);
        sources = bird_parse_sources(tuple, n, keep);
        if (sources) result = prepare_parsed(module, sources, n, &cfg, n_threads);
    }
    PyMem_Free(sources);
    Py_XDECREF(keep);
    Py_XDECREF(tuple);
    return result;
}

static PyObject *resize(PyObject *module, PyObject *args) {
    PyObject *object;
    PyArrayObject *src, *dst = NULL;
    const char *name;
    bird_filter filter;
    bird_error err;
    bird_status status;
    bird_unlocked unlocked;
    int height, width;
    if (!PyArg_ParseTuple(args, "Oiis:resize", &object, &height, &width, &name)) return NULL;
    if (bird_parse_filter(&filter, name) < 0) return NULL;
    src = bird_require_array(object, "image", NPY_UINT8, 3);
    if (!src) return NULL;
    const npy_intp *from = PyArray_DIMS(src);
    if (from[2] != 3 || from[0] < 1 || from[1] < 1 || from[0] > INT_MAX || from[1] > INT_MAX ||
        height < 1 || width < 1 || (uint64_t)height > BIRD_MAX_PIXELS / (uint64_t)width) {
        PyErr_Format(PyExc_ValueError,
                     "image must have shape (height, width, 3) and a valid new size, got "
                     "(%zd, %zd, %zd) to (%d, %d)",
                     (Py_ssize_t)from[0], (Py_ssize_t)from[1], (Py_ssize_t)from[2], height, width);
        goto cleanup;
    }
    npy_intp dims[3] = {height, width, 3};
    dst = bird_new_array(3, dims, NPY_UINT8);
    if (!dst) goto cleanup;
    bird_window whole = {0, 0, (size_t)width, (size_t)height};
    bird_unlock(&unlocked);
    status = bird_resize(PyArray_DATA(dst), PyArray_DATA(src), (size_t)from[0], (size_t)from[1],
                         (size_t)height, (size_t)width, whole, filter, &err);
    bird_lock(&unlocked);
    if (status != BIRD_OK) {
        Py_CLEAR(dst);
        bird_raise(bird_get_state(module), &err);
    }
cleanup:
    Py_DECREF(src);
    return (PyObject *)dst;
}

static PyObject *will_need(PyObject *module, PyObject *paths) {
    PyObject *tuple = PySequence_Tuple(paths);
    (void)module;
    if (!tuple) return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_Size(tuple); i++) {
        PyObject *path = NULL;
        PyThreadState *thread;
        const char *name;
        if (!PyUnicode_FSConverter(PyTuple_GetItem(tuple, i), &path)) {
            PyErr_Clear(); /* only a hint; the error is reported when the file is read */
            continue;
        }
        name = PyBytes_AsString(path);
        thread = PyEval_SaveThread();
        bird_file_will_need(name);
        PyEval_RestoreThread(thread);
        Py_DECREF(path);
    }
    Py_DECREF(tuple);
    Py_RETURN_NONE;
}

PyMethodDef bird_image_methods[] = {
    {"decode", decode, METH_O, PyDoc_STR("Source -> (h, w, 3) uint8, upright, on white.")},
    {"prepare", prepare, METH_VARARGS,
     PyDoc_STR("prepare(items, size, resize, crop_pct, interpolation, mean, std, num_threads,\n"
               "        mirrored=False)\n"
               "-> ((n, 3, size, size) float32, [(kind, message)] * n); num_threads 0: default.")},
    {"resize", resize, METH_VARARGS,
     PyDoc_STR("resize(image, height, width, interpolation) -> (height, width, 3) uint8.")},
    {"will_need", will_need, METH_O, PyDoc_STR("Ask the system to read files (paths) ahead.")},
    {NULL, NULL, 0, NULL},
};
