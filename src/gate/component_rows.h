/* component_rows: the rows of components: their secrets, commands and metrics. */
#pragma once
#include "base/log.h"
#include "base/metric.h"
#include "store/store.h"

enum { COMPONENT_STANZA_BYTES = 512 << 10, COMPONENT_OUTPUT_MAX = 64 << 20 };

enum { COMPONENT_RECEIVED, COMPONENT_SENT }; /* directions */
extern struct metric component_streams, component_stanzas, component_misaddressed_stanzas,
    component_refused;
extern struct log_area log_component;
extern struct store_stmt component_secret; /* of a domain, sealed for: */
slice component_context(slice domain, struct arena *tmp);
