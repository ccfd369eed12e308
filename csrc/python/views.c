/* Single views of training images, for tests and for inspection, and code shared with training
 * batches. */
#include <string.h>

#include "data/batch.h"
#include "python/glue.h"
#include "python/sources.h"

enum { MAX_SIDE = 1 << 20, MAX_VIEW = 8192 };

int bird_parse_policy(bird_policy *policy, const char *name) {
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

int bird_borrow_image(bird_image *image, PyObject **keep, PyObject *object) {
    PyArrayObject *array = bird_require_array(object, "image", NPY_UINT8, 3);
    if (!array) return -1;
    image->pixels = PyArray_DATA(array);
    image->height = (size_t)PyArray_DIM(array, 0);
    image->width = (size_t)PyArray_DIM(array, 1);
    npy_intp channels = PyArray_DIM(array, 2);
    if (channels == 3 && image->height > 0 && image->width > 0 && image->height < MAX_SIDE &&
        image->width < MAX_SIDE) {
        *keep = (PyObject *)array;
        return 0;
    }
    Py_DECREF(array);
    PyErr_Format(PyExc_ValueError, "image must have shape (height, width, 3), got (%zu, %zu, %zd)",
                 image->height, image->width, (Py_ssize_t)channels);
    return -1;
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
        bird_parse_policy(&policy, name) < 0)
        return NULL;
    if (height < 1 || width < 1 || size < 1 || height >= MAX_SIDE || width >= MAX_SIDE ||
        size > MAX_VIEW) {
        PyErr_Format(PyExc_ValueError,
                     "height, width and size must be at least 1 and not too large, got %zd, "
                     "%zd and %zd",
                     height, width, size);
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

/* `list` is a tuple, because items may have methods that run while they are read. */
static int parse_ops(bird_view *view, PyObject *list) {
    Py_ssize_t n = PyTuple_Size(list);
    if (n > BIRD_MAX_COLOR_OPS) {
        PyErr_Format(PyExc_ValueError, "ops holds %zd changes, at most %d", n, BIRD_MAX_COLOR_OPS);
        return -1;
    }
    for (; view->n_ops < n; view->n_ops++) {
        const char *name;
        bird_color_op *op = &view->ops[view->n_ops];
        int kind = 0;
        PyObject *pair = PyTuple_GetItem(list, view->n_ops); /* borrowed */
        if (!PyTuple_Check(pair)) {
            PyErr_SetString(PyExc_TypeError, "ops must hold pairs of a name and an amount");
            return -1;
        }
        if (!PyArg_ParseTuple(pair, "sd", &name, &op->amount)) return -1;
        while (kind < BIRD_COLOR_KINDS && strcmp(name, color_names[kind]) != 0) kind++;
        if (kind == BIRD_COLOR_KINDS) {
            PyErr_Format(PyExc_ValueError, "ops: unknown colour change '%s'", name);
            return -1;
        }
        op->kind = (bird_color_kind)kind;
    }
    return 0;
}

/* Render the view of one image. The box and the size have been checked. */
static PyObject *render_parsed(PyObject *module, const bird_image *image, const bird_view *view,
                               Py_ssize_t size, bird_filter filter) {
    npy_intp dims[3] = {size, size, 3};
    PyArrayObject *dst = bird_new_array(3, dims, NPY_UINT8);
    bird_error err;
    if (!dst) return NULL;
    if (bird_view_render(PyArray_DATA(dst), image, view, (size_t)size, filter, &err) != BIRD_OK) {
        Py_DECREF(dst);
        return bird_raise(bird_get_state(module), &err);
    }
    return (PyObject *)dst;
}

static PyObject *render_view(PyObject *module, PyObject *args) {
    PyObject *object, *list, *ops = NULL, *keep = NULL, *result = NULL;
    bird_image image;
    bird_view view = {0};
    bird_geometry *g = &view.geometry;
    bird_filter filter;
    Py_ssize_t size, x, y, width, height;
    const char *name;
    int flip;
    if (!PyArg_ParseTuple(args, "Ons(nnnn)p(dddddd)O!:render_view", &object, &size, &name, &x, &y,
                          &width, &height, &flip, &g->matrix[0], &g->matrix[1], &g->matrix[2],
                          &g->matrix[3], &g->shift[0], &g->shift[1], &PyList_Type, &list) ||
        bird_parse_filter(&filter, name) < 0)
        return NULL;
    ops = PySequence_Tuple(list);
    if (!ops || parse_ops(&view, ops) < 0) goto cleanup;
    if (bird_borrow_image(&image, &keep, object) < 0) goto cleanup;
    if (size < 1 || size > MAX_VIEW || x < 0 || y < 0 || width < 1 || height < 1 ||
        (size_t)width > image.width || (size_t)x > image.width - (size_t)width ||
        (size_t)height > image.height || (size_t)y > image.height - (size_t)height) {
        PyErr_Format(PyExc_ValueError, "box (%zd, %zd, %zd, %zd) or size %zd is out of range", x,
                     y, width, height, size);
        goto cleanup;
    }
    g->x = (size_t)x;
    g->y = (size_t)y;
    g->width = (size_t)width;
    g->height = (size_t)height;
    g->flip = flip != 0;
    result = render_parsed(module, &image, &view, size, filter);
cleanup:
    Py_XDECREF(ops);
    Py_XDECREF(keep);
    return result;
}

PyMethodDef bird_view_methods[] = {
    {"draw_view", draw_view, METH_VARARGS,
     PyDoc_STR("draw_view(augment, height, width, size, seed, epoch, key) -> (box, flip, warp,\n"
               "ops, erase), the box (x, y, width, height), the warp matrix and shift.")},
    {"render_view", render_view, METH_VARARGS,
     PyDoc_STR("render_view(image, size, interpolation, box, flip, warp, ops) -> (size, size, 3)\n"
               "uint8. Holds the GIL: for tests and contact sheets.")},
    {NULL, NULL, 0, NULL},
};
