/* pubsub_own: the nodes of accounts, for other extensions. */
#pragma once
#include "ext/pubsub/pubsub_private.h"

struct account;

/* How PEP finds the service of an account; set at start. */
struct ps_accounts {
    struct ps_service *(*find)(const struct account *a); /* NULL: it has no nodes */
    struct ps_service *(*make)(struct account *a);       /* that, or a new one that is ready */
};
void ps_accounts_are(const struct ps_accounts *accounts);
