/* import_store: stores the users of a step: each is one transaction, behind those of its archive,
 * if that is large. On the worker that imports. */
#pragma once
#include "store/store.h"

struct import;

/* Those users of the step that are not refused: import_step_end() is called when they are stored.
 * If there is no database, import_end() is. */
void import_reserve(struct import *x);
/* The same for a dry run, which stores nothing. */
void import_dry(struct import *x);
