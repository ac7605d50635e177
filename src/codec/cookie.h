/* cookie: the Cookie header of a request (RFC 6265 §4.2). Pure. */
#pragma once
#include "base/slice.h"

/* The value of the first cookie of this name, without quotes; ptr NULL: there is none. Borrowed
 * from the header. */
slice cookie_find(slice header, slice name);
