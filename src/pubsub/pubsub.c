/* pubsub: the engine as a feature: how its services are loaded and called, and which of its modules
 * hear of accounts. Below it: operations on nodes, items and subscriptions (pubsub_op.h), contacts
 * of owners, the tables, the memory (pubsub_model.h). Each calls only what is below,
 * but for the tables of requests, which pubsub_op runs and those above it fill. */
#include "pubsub/pubsub.h"
#include "core/feature.h"
#include "pubsub/pubsub_arrive.h"
#include "pubsub/pubsub_check.h"
#include "pubsub/pubsub_contacts.h"
#include "pubsub/pubsub_event.h"
#include "pubsub/pubsub_leavers.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_op.h"
#include "pubsub/pubsub_store.h"

static bool pubsub_in_use(const struct actor *a) { return !a->ended; }

static const struct actor_kind pubsub_kind = {
    .loaded = &ps_services_loaded,
    .calls_max = PS_WAITING_MAX,
    .load = ps_load_service,
    .call = ps_request_call,
    .in_use = pubsub_in_use,
    .check = ps_service_check,
    .unload = ps_service_unload,
};

static void pubsub_start(void) { ps_services_are(&pubsub_kind); }

static void pubsub_deleted(struct worker *w, slice bare)
{
    ps_services_each(w, ps_leaver_forget, bare);
}

const struct feature pubsub_feature = {
    .name = "pubsub",
    .schema = &ps_schema,
    .settings = (struct setting *const[]){ &ps_offline_bytes, NULL },
    .metrics = (struct metric *const[]){ &ps_events, &ps_services_loaded, NULL },
    .start = pubsub_start,
    .fans = (const struct fan_tag[]){ { FAN_EXPLICIT, ps_explicit_arrived }, { 0 } },
    .worker.slot = &ps_services_slot,
    .worker.ended = ps_services_stop,
    .account.remove = ps_store_leaver,
    .account.deleted = pubsub_deleted,
    .messages = ps_contacts_messages,
};
