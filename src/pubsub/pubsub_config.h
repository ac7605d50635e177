/* pubsub_config: the configuration of a node (XEP-0060 §16.4.3) as a value: its defaults, the form
 * that shows it, the form that changes it or that a publisher expects of it, and the text it is
 * stored as (what differs from the defaults, a line each). Pure.
 *
 * Texts of a configuration that was read from a form or from storage are borrowed or in the arena;
 * ps_config_keep() makes a copy that owns them.
 *
 * Limits: PS_TEXT_MAX bytes a text, PS_LIST_MAX bytes a list. */
#pragma once
#include "xmpp/form.h"

struct arena;
struct buf;
struct xml_write;

enum { PS_TEXT_MAX = 1023, PS_LIST_MAX = 8192, PS_CONFIG_MAX = 64 << 10 };

/* What kind of service the node belongs to: an account's own (XEP-0163) or one for all. */
enum ps_kind { PS_PEP, PS_HOST };

enum ps_access_model {
    PS_OPEN = 0,
    PS_PRESENCE = 1,
    PS_ROSTER = 2,
    PS_AUTHORIZE = 3,
    PS_WHITELIST = 4
};
enum ps_publish_model { PS_PUBLISHERS, PS_SUBSCRIBERS, PS_ANYBODY };
enum ps_send_last { PS_NEVER, PS_ON_SUB, PS_ON_SUB_AND_PRESENCE };
enum ps_reply { PS_REPLY_NONE, PS_REPLY_OWNER, PS_REPLY_PUBLISHER };
enum ps_notification { PS_HEADLINE, PS_NORMAL, PS_CHAT };
enum ps_text { PS_TITLE, PS_DESCRIPTION, PS_TYPE, PS_LANGUAGE, PS_GROUPS, PS_CONTACTS, PS_TEXTS };

#define PS_MAX UINT32_MAX /* max_items, item_expire: `max`, as much as the service allows */

struct ps_config {
    uint8_t access, publish, send_last, itemreply, notification;
    bool deliver_notifications, deliver_payloads, persist_items, subscribe;
    bool notify_config, notify_delete, notify_retract, notify_sub;
    uint32_t max_items, item_expire, max_payload;
    slice text[PS_TEXTS]; /* the lists: each entry ends with a tab */
    char *own;            /* NULL: the texts belong to somebody else */
};

/* What a service allows at most. */
struct ps_limits {
    int64_t items, payload;
};

void ps_config_default(struct ps_config *c, enum ps_kind kind);
void ps_config_keep(struct ps_config *out, const struct ps_config *in);
void ps_config_fini(struct ps_config *c);
uint32_t ps_config_bytes(const struct ps_config *c); /* of its texts */

/* Takes over what a form says; fields it does not name stay, fields nobody knows are ignored.
 * false: f->error and f->text say why. */
bool ps_config_submit(struct ps_config *c, struct form *f, const struct ps_limits *limits);
/* Whether all that a publisher expects is so (§7.1.5). Fields nobody knows are not. */
bool ps_config_meets(const struct ps_config *c, struct form *f, const struct ps_limits *limits);

/* Appends the form that shows it; or the one to fill in, with what such a service knows. */
void ps_config_write(struct xml_write *x, const struct ps_config *c);
void ps_config_ask(struct xml_write *x, const struct ps_config *c, enum ps_kind kind);
/* Appends the fields of the meta-data form (§5.4) that come from the configuration. */
void ps_config_write_meta(struct xml_write *x, const struct ps_config *c);

void ps_config_store(struct buf *out, const struct ps_config *c, enum ps_kind kind);
/* Lines that make no sense are left out: stored text may be damaged. Borrows `text`. */
void ps_config_load(struct ps_config *c, enum ps_kind kind, slice text);

bool ps_list_has(slice list, slice entry);
const char *ps_access_name(enum ps_access_model m);

/* Options of a subscription (§6.3). */
bool ps_options_submit(bool *deliver, struct form *f);
void ps_options_write(struct xml_write *x, bool deliver);
