#include "python/glue.h"

PyMethodDef bird_search_methods[] = {{NULL, NULL, 0, NULL}};
