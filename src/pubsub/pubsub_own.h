/* pubsub_own: the nodes of accounts, for other extensions. */
#pragma once
#include "pubsub/pubsub_model.h"

struct account;

/* How PEP finds the service of an account; set at start. */
struct ps_accounts {
    bool (*has)(const struct account *a);          /* whether it has nodes */
    struct ps_service *(*make)(struct account *a); /* its service; a new one if need be */
    const struct ps_service_kind *kind;
};
void ps_accounts_are(const struct ps_accounts *accounts);
const struct ps_service_kind *ps_accounts_kind(void); /* NULL: accounts have no nodes */
