/* Parsing shared by the functions for images and for training batches (image.c). */
#ifndef BIRD_PYTHON_SOURCES_H
#define BIRD_PYTHON_SOURCES_H

#include "image/augment_policy.h"
#include "image/prepare.h"
#include "python/glue.h"

/* Parse "bilinear" or "bicubic"; return -1 with an exception set for any other name. */
int bird_parse_filter(bird_filter *filter, const char *name);

/* Parse "squash" or "shortest"; return -1 with an exception set for any other name. */
int bird_parse_fit(bird_fit *fit, const char *name);

/* Find the policy with a name (no policy for NULL); return -1 with an exception set for any other
 * name. */
int bird_parse_policy(bird_policy *policy, const char *name);

/* Make an image that borrows the pixels of a uint8 array (height, width, 3). *keep becomes a new
 * reference to the owner of the pixels. On failure, return -1 with an exception set and do not
 * change *keep. */
int bird_borrow_image(bird_image *image, PyObject **keep, PyObject *object);

/* Describe the n items of a tuple (str, bytes or uint8 array). The owners of borrowed memory are
 * added to the list `keep`. The caller frees the result with PyMem_Free. Return NULL with an
 * exception set on failure. */
bird_source *bird_parse_sources(PyObject *items, Py_ssize_t n, PyObject *keep);

/* Return the outcomes as a new list of (kind, message); kind "" is success. */
PyObject *bird_outcome_list(const bird_error *outcomes, Py_ssize_t n);

#endif
