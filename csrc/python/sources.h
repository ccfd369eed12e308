/* Parsing shared by the functions for images and for training batches (image.c). */
#ifndef BIRD_PYTHON_SOURCES_H
#define BIRD_PYTHON_SOURCES_H

#include "image/augment_policy.h"
#include "image/prepare.h"
#include "python/glue.h"

/* "bilinear" or "bicubic"; -1 with an exception set for any other name. */
int bird_parse_filter(bird_filter *filter, const char *name);

/* "squash" or "shortest"; -1 with an exception set for any other name. */
int bird_parse_fit(bird_fit *fit, const char *name);

/* The policy with a name (no policy for NULL); -1 with an exception set for any other name. */
int bird_parse_policy(bird_policy *policy, const char *name);

/* An image that borrows the pixels of a uint8 array (height, width, 3). *keep becomes a new
 * reference to what it borrows from. -1 with an exception set, and *keep untouched. */
int bird_borrow_image(bird_image *image, PyObject **keep, PyObject *object);

/* Describe the n items of a tuple (str, bytes or uint8 array). What they borrow from goes into
 * the list `keep`. To be freed with PyMem_Free; NULL with an exception set. */
bird_source *bird_parse_sources(PyObject *items, Py_ssize_t n, PyObject *keep);

/* The outcomes as a new list of (kind, message); kind "" is success. */
PyObject *bird_outcome_list(const bird_error *outcomes, Py_ssize_t n);

#endif
