#include "python/glue.h"

PyMethodDef bird_image_methods[] = {{NULL, NULL, 0, NULL}};
