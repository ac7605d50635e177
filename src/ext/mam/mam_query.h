/* mam_query: archive queries of accounts (XEP-0313 §4): only sessions of an account can query its
 * archive. archive/query.h finds the messages; then copies are sent in parts, as fast as the
 * client takes them (session/copies.h, architecture §4). A message that waited for its owner is
 * settled when the session has the copy (architecture §6).
 *
 * Limits: settings archive.page-default and archive.page-max. */
#pragma once

struct account;
struct buf;
struct iq;
struct session;
struct store_batch;

/* At the home of the archive's owner, who asks. */
void mam_query(struct iq *iq);
void mam_form_get(struct iq *iq);
void mam_metadata(struct iq *iq);
/* For a session that is bound with Bind 2 (XEP-0386): the metadata goes into its <bound/>. */
void mam_bind2_load(struct account *a, struct store_batch *b);
void mam_bind2_loaded(struct session *s, const struct store_batch *b, struct buf *bound);
