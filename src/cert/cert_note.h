/* cert_note: what the audit log says of certificates before and after a change: for whom, their
 * names, fingerprint and end. Never a key. */
#pragma once
#include "base/slice.h"

struct arena;
struct buf;
struct tls_cert_facts;

enum { CERT_NOTE_MAX = 4096 }; /* bytes of one certificate, at most */

/* "domain=a.test names=a.test,*.a.test sha256=... expires=2026-01-02T03:04:05Z"; key: "domain" or
 * what else `of` is. Without DNS names it has the subject. Parted from what is there by a blank. */
void cert_note(struct buf *out, const char *key, const char *of,
               const struct tls_cert_facts *facts);
/* The same of the certificates that these domains have in the data folder; empty: none. Of the
 * arena. Waits for the disk. */
slice cert_note_stored(struct arena *arena, const char *data, const char *const *domain,
                       size_t count);
