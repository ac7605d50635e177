#include "talk/archive_answer.h"
#include "archive/query.h"
#include "base/hash.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include "talk/iq.h"
#include "xmpp/mam.h"

enum { ENDS_MS = 2000 };

void archive_unread(struct iq *iq, enum err err)
{
    enum stanza_error e = stanza_error_of(err);
    iq_error(iq, e, archive_unread_text(e));
}

static void ends_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct iq *iq = arg;
    struct buf out;
    struct xml_write x;
    if (r != STORE_OK) {
        archive_unread(iq, err_of_store(r));
        return;
    }
    xml_begin(&x, &out, XML_PART_MAX);
    archive_ends_write(&x, b, 0);
    iq_result_buf(iq, &out);
}

/* The last message of a room may be before many who entered and left since. */
void archive_ends_answer(struct iq *iq, int64_t owner, uint64_t lane)
{
    struct iq *held = iq_hold(iq);
    struct store_batch *b = store_read(worker_store(held->worker), lane);
    store_read_late(b, owner);
    archive_ends_add(b, owner);
    store_read_long(b, hash_keyed(stanza_from_bare(held->st)), ENDS_MS);
    store_submit(b, worker_loop(held->worker), 0, ends_read, held);
}

void archive_form_answer(struct iq *iq)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    mam_form_write(&x);
    iq_result_buf(iq, &out);
}
