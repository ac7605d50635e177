/* message_rows: the table of messages that messages_set() makes, for what sends and runs them. */
#pragma once
#include "home/message.h"

/* A row, and where its struct has what is more than bytes. */
struct message_known {
    const struct message_row *row;
    uint8_t slices, stanzas; /* each at most MESSAGE_FIELDS_MAX */
    uint16_t slice_at[MESSAGE_FIELDS_MAX], stanza_at[MESSAGE_FIELDS_MAX];
};

/* Of a row that stands in a list of the program, and of its id. */
const struct message_known *message_known_of(const struct message_row *row);
const struct message_known *message_known_at(uint32_t id);
void message_known_release(const struct message_known *k, void *message); /* its references */
