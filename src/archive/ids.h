/* archive_ids: archive ids: they rise, and no owner gets one twice, not after a crash either. */
#pragma once
#include <stdint.h>

struct message_row;
struct store_batch;
struct worker;

/* The next archive id of an owner, at its home; *last is the owner's highest id. */
uint64_t archive_mint(struct worker *w, uint64_t *last);
/* How far an archive id may be from the time of its message. Ids rise when the clock steps back,
 * and after a crash they begin above it; from then on they stay ahead until the clock is there. */
enum { ARCHIVE_SLACK_US = 60 * 1000000 }; /* at least */
uint64_t archive_slack_us(const struct worker *w);
/* The batch stores messages whose ids are up to `off_us` from their times. All nodes are told. */
void archive_slack_allow(struct worker *w, struct store_batch *b, uint64_t off_us);
extern const struct message_row archive_slack_message;
