/* xstream_check: debug builds ensure at the end of each tick that the streams with which something
 * happened are consistent. `check` of struct xstream_ops adds what an edge knows of its own. */
#pragma once
#include "gate/xstream.h"

#ifdef MUSTER_DEBUG
void xstream_mark(struct xstream *x);   /* something happens to it */
void xstream_unmark(struct xstream *x); /* it leaves its worker */
#else
static inline void xstream_mark(struct xstream *x) { (void)x; }
static inline void xstream_unmark(struct xstream *x) { (void)x; }
#endif
