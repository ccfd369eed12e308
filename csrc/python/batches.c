/* Training batches: the order of an epoch, decoded images, augmented views, mixing. */
#include <string.h>

#include "base/threads.h"
#include "data/batch.h"
#include "data/mix.h"
#include "data/sampler.h"
#include "python/glue.h"
#include "python/sources.h"

/* Limits memory, which depends on this number; no dataset comes close to it. */
enum { MAX_CLASSES = 1 << 24 };

static PyObject *epoch_order(PyObject *module, PyObject *args) {
    PyObject *object;
    PyArrayObject *labels, *draws = NULL;
    Py_ssize_t n_classes;
    unsigned long long seed, epoch;
    int balanced;
    bird_error err;
    bird_status status = BIRD_OK;
    if (!PyArg_ParseTuple(args, "OnpKK:epoch_order", &object, &n_classes, &balanced, &seed, &epoch))
        return NULL;
    labels = bird_require_array(object, "labels", NPY_INT64, 1);
    if (!labels) return NULL;
    if (n_classes > MAX_CLASSES) {
        PyErr_Format(PyExc_ValueError, "num_classes must be at most %d, got %zd", MAX_CLASSES,
                     n_classes);
        Py_DECREF(labels);
        return NULL;
    }
    size_t n = (size_t)PyArray_DIM(labels, 0);
    draws = bird_new_array(1, PyArray_DIMS(labels), NPY_INT64);
    if (draws && n > 0) {
        int64_t *to = PyArray_DATA(draws);
        const int64_t *from = PyArray_DATA(labels);
        PyThreadState *thread = PyEval_SaveThread();
        if (balanced)
            status = bird_sampler_balanced(to, from, n, n_classes < 1 ? 1 : (size_t)n_classes,
                                           seed, epoch, &err);
        else
            bird_sampler_shuffled(to, n, seed, epoch);
        PyEval_RestoreThread(thread);
    }
    Py_DECREF(labels);
    if (status != BIRD_OK) {
        Py_CLEAR(draws);
        bird_raise(bird_get_state(module), &err);
    }
    return (PyObject *)draws;
}

/* Return the images as a list of arrays, with None for those that failed. Empties images. */
static PyObject *image_list(bird_image *images, Py_ssize_t n) {
    PyObject *list = PyList_New(n);
    for (Py_ssize_t i = 0; list && i < n; i++) {
        PyObject *item = NULL;
        if (images[i].pixels) {
            npy_intp dims[3] = {(npy_intp)images[i].height, (npy_intp)images[i].width, 3};
            PyArrayObject *array = bird_new_array(3, dims, NPY_UINT8);
            if (array)
                memcpy(PyArray_DATA(array), images[i].pixels,
                       images[i].height * images[i].width * 3);
            item = (PyObject *)array;
        } else {
            item = Py_None;
            Py_INCREF(item);
        }
        if (!item || PyList_SetItem(list, i, item) < 0) Py_CLEAR(list);
        bird_image_deinit(&images[i]);
    }
    return list;
}

static PyObject *load_parsed(PyObject *module, const bird_source *sources, Py_ssize_t n,
                             Py_ssize_t short_side, int n_threads) {
    size_t count = n > 0 ? (size_t)n : 1;
    bird_error err, *outcomes = PyMem_Calloc(count, sizeof *outcomes);
    bird_image *images = PyMem_Calloc(count, sizeof *images);
    PyObject *result = NULL, *arrays = NULL, *list = NULL;
    bird_unlocked unlocked;
    bird_status status;
    if (!outcomes || !images) {
        PyErr_NoMemory();
        goto cleanup;
    }
    bird_unlock(&unlocked);
    status = bird_batch_load(images, outcomes, sources, (size_t)n,
                             short_side > 0 ? (size_t)short_side : 0, n_threads,
                             &unlocked.cancel, &err);
    bird_lock(&unlocked);
    if (status != BIRD_OK) {
        bird_raise(bird_get_state(module), &err);
        goto cleanup;
    }
    arrays = image_list(images, n);
    list = arrays ? bird_outcome_list(outcomes, n) : NULL;
    if (list) result = PyTuple_Pack(2, arrays, list);
cleanup:
    for (Py_ssize_t i = 0; images && i < n; i++) bird_image_deinit(&images[i]);
    Py_XDECREF(arrays);
    Py_XDECREF(list);
    PyMem_Free(images);
    PyMem_Free(outcomes);
    return result;
}

static PyObject *load_images(PyObject *module, PyObject *args) {
    PyObject *items, *tuple, *keep, *result = NULL;
    Py_ssize_t short_side;
    int n_threads;
    if (!PyArg_ParseTuple(args, "Oni:load_images", &items, &short_side, &n_threads)) return NULL;
    n_threads = bird_threads_or_default(n_threads);
    tuple = PySequence_Tuple(items);
    keep = tuple ? PyList_New(0) : NULL;
    if (keep) {
        Py_ssize_t n = PyTuple_Size(tuple);
        bird_source *sources = bird_parse_sources(tuple, n, keep);
        if (sources) result = load_parsed(module, sources, n, short_side, n_threads);
        PyMem_Free(sources);
    }
    Py_XDECREF(keep);
    Py_XDECREF(tuple);
    return result;
}

static PyObject *fill_parsed(PyObject *module, PyObject *tuple, PyArrayObject *keys,
                             bird_policy policy, const bird_preprocess *cfg,
                             unsigned long long seed, unsigned long long epoch, int n_threads) {
    Py_ssize_t n = PyTuple_Size(tuple);
    bird_image *images = PyMem_Calloc(n > 0 ? (size_t)n : 1, sizeof *images);
    PyArrayObject *pixels = NULL;
    PyObject *keep = PyList_New(0);
    bird_unlocked unlocked;
    bird_error err;
    bird_status status = bird_preprocess_check(cfg, &err);
    if (!images || !keep) {
        PyErr_NoMemory();
        goto cleanup;
    }
    if (status != BIRD_OK) {
        bird_raise(bird_get_state(module), &err);
        goto cleanup;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *one;
        if (bird_borrow_image(&images[i], &one, PyTuple_GetItem(tuple, i)) < 0) goto cleanup;
        int failed = PyList_Append(keep, one) < 0;
        Py_DECREF(one);
        if (failed) goto cleanup;
    }
    npy_intp dims[4] = {n, 3, cfg->size, cfg->size};
    pixels = bird_new_array(4, dims, NPY_FLOAT32);
    if (!pixels) goto cleanup;
    float *to = PyArray_DATA(pixels);
    const int64_t *from = PyArray_DATA(keys);
    bird_unlock(&unlocked);
    status = bird_batch_fill(to, images, from, (size_t)n, policy, cfg, seed, epoch, n_threads,
                             &unlocked.cancel, &err);
    bird_lock(&unlocked);
    if (status != BIRD_OK) {
        Py_CLEAR(pixels);
        bird_raise(bird_get_state(module), &err);
    }
cleanup:
    Py_XDECREF(keep);
    PyMem_Free(images);
    return (PyObject *)pixels;
}

static PyObject *fill_batch(PyObject *module, PyObject *args) {
    bird_preprocess cfg = {0};
    bird_policy policy;
    PyObject *items, *object, *tuple = NULL, *result = NULL;
    PyArrayObject *keys = NULL;
    const char *fit, *filter, *name;
    unsigned long long seed, epoch;
    int n_threads;
    if (!PyArg_ParseTuple(args, "OOzisds(fff)(fff)KKi:fill_batch", &items, &object, &name,
                          &cfg.size, &fit, &cfg.crop_pct, &filter, &cfg.mean[0], &cfg.mean[1],
                          &cfg.mean[2], &cfg.std[0], &cfg.std[1], &cfg.std[2], &seed, &epoch,
                          &n_threads))
        return NULL;
    if (bird_parse_fit(&cfg.fit, fit) < 0 || bird_parse_filter(&cfg.filter, filter) < 0 ||
        bird_parse_policy(&policy, name) < 0)
        return NULL;
    n_threads = bird_threads_or_default(n_threads);
    tuple = PySequence_Tuple(items);
    keys = tuple ? bird_require_array(object, "keys", NPY_INT64, 1) : NULL;
    if (keys && PyArray_DIM(keys, 0) != PyTuple_Size(tuple))
        PyErr_Format(PyExc_ValueError, "keys has %zd entries for %zd images",
                     (Py_ssize_t)PyArray_DIM(keys, 0), PyTuple_Size(tuple));
    else if (keys)
        result = fill_parsed(module, tuple, keys, policy, &cfg, seed, epoch, n_threads);
    Py_XDECREF(keys);
    Py_XDECREF(tuple);
    return result;
}

/* Like bird_require_array, and also require that the array is writeable. */
static PyArrayObject *require_writeable(PyObject *object, const char *name, int ndim) {
    PyArrayObject *array = bird_require_array(object, name, NPY_FLOAT32, ndim);
    if (array && !PyArray_ISWRITEABLE(array)) {
        PyErr_Format(PyExc_ValueError, "%s is read-only", name);
        Py_CLEAR(array);
    }
    return array;
}

static PyObject *mix_batch(PyObject *module, PyObject *args) {
    PyObject *pixels_object, *targets_object, *keys_object;
    PyArrayObject *pixels, *targets = NULL, *keys = NULL;
    bird_mix mix;
    unsigned long long seed, epoch;
    bird_error err;
    bird_status status = bird_fail(&err, BIRD_SHAPE, "%s",
                                   "pixels (n, 3, s, s), targets (n, c) and keys (n) do not match");
    if (!PyArg_ParseTuple(args, "OOOddKK:mix_batch", &pixels_object, &targets_object, &keys_object,
                          &mix.mixup, &mix.cutmix, &seed, &epoch))
        return NULL;
    pixels = require_writeable(pixels_object, "pixels", 4);
    targets = pixels ? require_writeable(targets_object, "targets", 2) : NULL;
    keys = targets ? bird_require_array(keys_object, "keys", NPY_INT64, 1) : NULL;
    if (keys) {
        const npy_intp *p = PyArray_DIMS(pixels), *t = PyArray_DIMS(targets);
        /* Negated: NaN must fail too. */
        if (!(mix.mixup >= 0 && mix.cutmix >= 0 && mix.mixup + mix.cutmix > 0 &&
              mix.mixup + mix.cutmix < 1e6)) {
            status = bird_fail(&err, BIRD_ARG,
                               "mixup and cutmix must be at least 0 and one of them above 0, got "
                               "%g and %g",
                               mix.mixup, mix.cutmix);
        } else if (p[1] == 3 && p[2] == p[3] && p[0] == t[0] && PyArray_DIM(keys, 0) == t[0]) {
            size_t n = (size_t)p[0], size = (size_t)p[2], n_classes = (size_t)t[1];
            float *x = PyArray_DATA(pixels), *y = PyArray_DATA(targets);
            const int64_t *k = PyArray_DATA(keys);
            PyThreadState *thread = PyEval_SaveThread();
            status = bird_mix_batch(x, y, k, n, size, n_classes, mix, seed, epoch, &err);
            PyEval_RestoreThread(thread);
        }
        if (status != BIRD_OK) bird_raise(bird_get_state(module), &err);
    }
    Py_XDECREF(keys);
    Py_XDECREF(targets);
    Py_XDECREF(pixels);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

PyMethodDef bird_batch_methods[] = {
    {"epoch_order", epoch_order, METH_VARARGS,
     PyDoc_STR("epoch_order(labels, num_classes, balanced, seed, epoch) -> (n,) int64 draws: row\n"
               "+ n * (how often the row has occurred in this epoch before).")},
    {"load_images", load_images, METH_VARARGS,
     PyDoc_STR("load_images(items, short_side, num_threads) -> ([(h, w, 3) uint8 or None] * n,\n"
               "[(kind, message)] * n); a short side above short_side (0: no limit) is reduced.")},
    {"fill_batch", fill_batch, METH_VARARGS,
     PyDoc_STR("fill_batch(images, keys, augment, size, resize, crop_pct, interpolation, mean,\n"
               "std, seed, epoch, num_threads) -> (n, 3, size, size) float32.")},
    {"mix_batch", mix_batch, METH_VARARGS,
     PyDoc_STR("mix_batch(pixels, targets, keys, mixup, cutmix, seed, epoch): in place.")},
    {NULL, NULL, 0, NULL},
};
