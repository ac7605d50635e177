/* archive_id: archive ids as clients see them. Within, an id is a number that rises, as it is a
 * time (architecture §7). XEP-0313 §3 wants ids that nobody can predict, so outside it is that
 * number enciphered, in 16 hexadecimal digits: a Feistel network of four rounds over its halves,
 * with SipHash as the function of a round. Nothing but the order and the times of messages is
 * hidden by it; who may read an archive is checked where it is asked.
 *
 * The key is the same for all workers and for as long as the database lives, as clients keep ids:
 * it is set once at start. Any thread. */
#pragma once
#include "base/hash.h"
#include <stdbool.h>
#include <stdint.h>

enum { ARCHIVE_ID_LEN = 16 };

void archive_id_key_set(const struct hash_key *key);

void archive_id_write(char out[ARCHIVE_ID_LEN], uint64_t id);
/* false: no archive has an id like this. */
bool archive_id_read(slice text, uint64_t *id);
