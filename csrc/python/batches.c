/* Training batches: an epoch's order, images decoded to keep, views of them, mixing; and
 * single views, for tests and for looking at. */
#include <string.h>

#include "base/threads.h"
#include "data/batch.h"
#include "data/mix.h"
#include "data/sampler.h"
#include "python/glue.h"
#include "python/sources.h"

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

/* The images as a list of arrays, None for those that failed. Empties images. */
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

static int parse_policy(bird_policy *policy, const char *name) {
    if (!name) {
        *policy = BIRD_POLICY_NONE;
    } else if (strcmp(name, "default") == 0) {
        *policy = BIRD_POLICY_DEFAULT;
    } else if (strcmp(name, "turned") == 0) {
        *policy = BIRD_POLICY_TURNED;
    } else if (strcmp(name, "robust") == 0) {
        *policy = BIRD_POLICY_ROBUST;
    } else if (strcmp(name, "strong") == 0) {
        *policy = BIRD_POLICY_STRONG;
    } else {
        PyErr_Format(PyExc_ValueError,
                     "augment must be None, 'default', 'turned', 'robust' or 'strong', got '%s'",
                     name);
        return -1;
    }
    return 0;
}

/* An image that borrows the array's pixels. */
static int borrow_image(bird_image *image, PyObject *object) {
    PyArrayObject *array = bird_require_array(object, "image", NPY_UINT8, 3);
    if (!array) return -1;
    image->pixels = PyArray_DATA(array);
    image->height = (size_t)PyArray_DIM(array, 0);
    image->width = (size_t)PyArray_DIM(array, 1);
    npy_intp channels = PyArray_DIM(array, 2);
    Py_DECREF(array); /* whoever holds `object` keeps it alive */
    if (channels == 3 && image->height > 0 && image->width > 0 && image->height < 1u << 20 &&
        image->width < 1u << 20)
        return 0;
    PyErr_Format(PyExc_ValueError, "image must have shape (height, width, 3), got (%zu, %zu, %zd)",
                 image->height, image->width, (Py_ssize_t)channels);
    return -1;
}

static PyObject *fill_parsed(PyObject *module, PyObject *tuple, PyArrayObject *keys,
                             bird_policy policy, const bird_preprocess *cfg,
                             unsigned long long seed, unsigned long long epoch, int n_threads) {
    Py_ssize_t n = PyTuple_Size(tuple);
    bird_image *images = PyMem_Calloc(n > 0 ? (size_t)n : 1, sizeof *images);
    PyArrayObject *pixels = NULL;
    bird_unlocked unlocked;
    bird_error err;
    bird_status status = images ? bird_preprocess_check(cfg, &err) : BIRD_OK;
    if (!images) return PyErr_NoMemory();
    if (status != BIRD_OK) {
        bird_raise(bird_get_state(module), &err);
        goto cleanup;
    }
    for (Py_ssize_t i = 0; i < n; i++)
        if (borrow_image(&images[i], PyTuple_GetItem(tuple, i)) < 0) goto cleanup;
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
        parse_policy(&policy, name) < 0)
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

/* bird_require_array, and that it may be written to. */
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
                                   "pixels (n, 3, s, s), targets (n, c) and keys (n) do not fit");
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
                               "mixup and cutmix must be at least 0, one of them above, got %g "
                               "and %g",
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

static const char *const color_names[BIRD_COLOR_KINDS] = {
    "brightness", "contrast", "saturation",   "sharpness",
    "posterize",  "solarize", "autocontrast", "equalize"};

static PyObject *draw_view(PyObject *module, PyObject *args) {
    const char *name;
    Py_ssize_t height, width, size;
    unsigned long long seed, epoch, key;
    bird_policy policy;
    (void)module;
    if (!PyArg_ParseTuple(args, "snnnKKK:draw_view", &name, &height, &width, &size, &seed, &epoch,
                          &key) ||
        parse_policy(&policy, name) < 0)
        return NULL;
    if (height < 1 || width < 1 || size < 1) {
        PyErr_SetString(PyExc_ValueError, "height, width and size must be at least 1");
        return NULL;
    }
    bird_rng rng = bird_rng_stream(seed, BIRD_STREAM_AUGMENT, epoch, key);
    bird_view v =
        bird_view_draw(policy, (size_t)height, (size_t)width, (size_t)size, &rng);
    const bird_geometry *g = &v.geometry;
    PyObject *ops = PyList_New(0);
    for (int i = 0; ops && i < v.n_ops; i++) {
        PyObject *op = Py_BuildValue("(sd)", color_names[v.ops[i].kind], v.ops[i].amount);
        if (!op || PyList_Append(ops, op) < 0) Py_CLEAR(ops);
        Py_XDECREF(op);
    }
    if (!ops) return NULL;
    return Py_BuildValue("((nnnn)O(dddddd)N(nnnn))", (Py_ssize_t)g->x, (Py_ssize_t)g->y,
                         (Py_ssize_t)g->width, (Py_ssize_t)g->height,
                         g->flip ? Py_True : Py_False, g->matrix[0], g->matrix[1], g->matrix[2],
                         g->matrix[3], g->shift[0], g->shift[1], ops, (Py_ssize_t)v.erase_x,
                         (Py_ssize_t)v.erase_y, (Py_ssize_t)v.erase_width,
                         (Py_ssize_t)v.erase_height);
}

static int parse_ops(bird_view *view, PyObject *list) {
    Py_ssize_t n = PyList_Size(list);
    if (n > BIRD_MAX_COLOR_OPS) {
        PyErr_Format(PyExc_ValueError, "ops holds %zd changes, at most %d", n, BIRD_MAX_COLOR_OPS);
        return -1;
    }
    for (; view->n_ops < n; view->n_ops++) {
        const char *name;
        bird_color_op *op = &view->ops[view->n_ops];
        int kind = 0;
        if (!PyArg_ParseTuple(PyList_GetItem(list, view->n_ops), "sd", &name, &op->amount))
            return -1;
        while (kind < BIRD_COLOR_KINDS && strcmp(name, color_names[kind]) != 0) kind++;
        if (kind == BIRD_COLOR_KINDS) {
            PyErr_Format(PyExc_ValueError, "ops names '%s', no change of colour", name);
            return -1;
        }
        op->kind = (bird_color_kind)kind;
    }
    return 0;
}

static PyObject *render_view(PyObject *module, PyObject *args) {
    PyObject *object, *ops;
    bird_image image;
    bird_view view = {0};
    bird_geometry *g = &view.geometry;
    bird_filter filter;
    bird_error err;
    Py_ssize_t size, x, y, width, height;
    const char *name;
    PyArrayObject *dst;
    int flip;
    if (!PyArg_ParseTuple(args, "Ons(nnnn)p(dddddd)O!:render_view", &object, &size, &name, &x, &y,
                          &width, &height, &flip, &g->matrix[0], &g->matrix[1], &g->matrix[2],
                          &g->matrix[3], &g->shift[0], &g->shift[1], &PyList_Type, &ops) ||
        bird_parse_filter(&filter, name) < 0 || borrow_image(&image, object) < 0 ||
        parse_ops(&view, ops) < 0)
        return NULL;
    if (size < 1 || size > 8192 || x < 0 || y < 0 || width < 1 || height < 1 ||
        (size_t)width > image.width || (size_t)x > image.width - (size_t)width ||
        (size_t)height > image.height || (size_t)y > image.height - (size_t)height) {
        PyErr_Format(PyExc_ValueError, "box (%zd, %zd, %zd, %zd) or size %zd is out of range", x,
                     y, width, height, size);
        return NULL;
    }
    g->x = (size_t)x;
    g->y = (size_t)y;
    g->width = (size_t)width;
    g->height = (size_t)height;
    g->flip = flip != 0;
    npy_intp dims[3] = {size, size, 3};
    dst = bird_new_array(3, dims, NPY_UINT8);
    if (!dst) return NULL;
    if (bird_view_render(PyArray_DATA(dst), &image, &view, (size_t)size, filter, &err) != BIRD_OK) {
        Py_DECREF(dst);
        return bird_raise(bird_get_state(module), &err);
    }
    return (PyObject *)dst;
}

PyMethodDef bird_batch_methods[] = {
    {"epoch_order", epoch_order, METH_VARARGS,
     PyDoc_STR("epoch_order(labels, num_classes, balanced, seed, epoch) -> (n,) int64 draws: row\n"
               "+ n * (how often the row has come in this epoch before).")},
    {"load_images", load_images, METH_VARARGS,
     PyDoc_STR("load_images(items, short_side, num_threads) -> ([(h, w, 3) uint8 or None] * n,\n"
               "[(kind, message)] * n); a short side above short_side (0: none) is reduced.")},
    {"fill_batch", fill_batch, METH_VARARGS,
     PyDoc_STR("fill_batch(images, keys, augment, size, resize, crop_pct, interpolation, mean,\n"
               "std, seed, epoch, num_threads) -> (n, 3, size, size) float32.")},
    {"mix_batch", mix_batch, METH_VARARGS,
     PyDoc_STR("mix_batch(pixels, targets, keys, mixup, cutmix, seed, epoch): in place.")},
    {"draw_view", draw_view, METH_VARARGS,
     PyDoc_STR("draw_view(augment, height, width, size, seed, epoch, key) -> (box, flip, warp,\n"
               "ops, erase), the box (x, y, width, height), the warp matrix and shift.")},
    {"render_view", render_view, METH_VARARGS,
     PyDoc_STR("render_view(image, size, interpolation, box, flip, warp, ops) -> (size, size, 3)\n"
               "uint8. Holds the GIL: for tests and contact sheets.")},
    {NULL, NULL, 0, NULL},
};
