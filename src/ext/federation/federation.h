/* federation: what the files of this folder share: the news that rules have changed. */
#pragma once
#include "base/log.h"
#include "home/question.h"

extern struct log_area log_federation;
extern const struct message_row federation_reload_message, federation_apply_message;

/* The book has changed: the workers of this node end streams, and tell contacts. */
static inline void federation_apply(struct worker *w)
{
    each_home(w, &federation_apply_message, &(struct message_nothing){ 0 }, &(struct asker){ 0 });
}
/* The database has: all nodes read it again. done: what they have read applies now, or the database
 * has not answered, and is asked again; NULL: nobody waits. */
static inline void federation_reload(struct worker *w, gathered_fn *done, void *arg)
{
    each_home(w, &federation_reload_message, &(struct message_nothing){ 0 },
              &(struct asker){ .done = done, .arg = arg });
}
