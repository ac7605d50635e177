/* proxy65_private: what proxy65.c and proxy65_rows.c share. */
#pragma once
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "gate/proxy65.h"

struct iq;

enum { PROXY65_HASH = 40 }; /* hexadecimal SHA-1 */

extern struct setting proxy65_connections_max, proxy65_per_address, proxy65_wait_time,
    proxy65_idle_time, proxy65_rate;
/* No row: whether something listens. */
extern struct setting proxy65_listening;
extern struct metric proxy65_connections, proxy65_streams, proxy65_bytes, proxy65_refused;
extern struct log_area log_proxy65;

/* Activates the bytestream of this hash. done: E_NOTFOUND: nobody named it; E_AGAIN: only one side
 * did; E_EXISTS: it is active. On the worker that asked; `proxy` NULL: E_DOWN. */
typedef void proxy65_fn(void *arg, enum err e);
void proxy65_activate(struct worker *w, const char hash[PROXY65_HASH + 1], proxy65_fn *done,
                      void *arg);
/* The port of the first listener; 0: none. */
int proxy65_port(void);
