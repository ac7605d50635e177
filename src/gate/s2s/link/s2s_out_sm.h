/* s2s_out_sm: stream management (XEP-0198) on a stream of ours to another server: what is asked,
 * and its answers. The counterpart of gate/s2s/link/s2s_in_sm.h. Confined to the worker of the
 * stream.
 */
#pragma once
#include <stdbool.h>

struct elem;
struct s2s_out;

/* <r/> behind what was written, at the end of the tick; and between, where much was. */
void s2s_out_ask_later(struct s2s_out *o);
void s2s_out_ask_between(struct s2s_out *o);
/* false: nothing was asked that this element answers. */
bool s2s_out_sm(struct s2s_out *o, const struct elem *e);
