/* doctor: the command `doctor`, which says what is wrong with this machine, its node file, its
 * certificates, DNS and ports, and which command mends it. musterctl runs it itself while no server
 * runs. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "operate/doctor_check.h"

struct buf;
struct feature;

extern const struct feature doctor_feature;

/* While no server runs, it hangs, or `control` is closed to who looks: adds the line that this
 * socket would have answered. E_SYNTAX: the node file has mistakes, which `why` has. Waits for disk
 * and network. */
NODISCARD enum err doctor_offline(const char *config, const char *control,
                                  enum doctor_server server, struct buf *line, struct why *why);
/* The same for `doctor outside`: how a domain is found from this machine, which needs no node file.
 * dns: name servers to ask; empty: those of the system. E_SYNTAX: the domain is none. */
NODISCARD enum err doctor_outside(slice domain, slice dns, struct buf *line, struct why *why);
