/* libpq: the client library of PostgreSQL, loaded when a database of PostgreSQL is named. With it
 * come Kerberos, LDAP and GnuTLS, eighteen libraries: half of what a start of musterctl took, and
 * needless where SQLite is the database.
 *
 * libpq.c defines the functions of <libpq-fe.h> that are used; they hand on to the library. */
#pragma once
#include "base/err.h"

/* Any thread. E_IO: it is not there, and *why (may be NULL) says so; none of its functions may be
 * called then. */
NODISCARD enum err libpq_load(struct why *why);
