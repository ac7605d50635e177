/* sasl2: what a client says in SASL2 (XEP-0388), read into values: <authenticate/> with its inline
 * requests (XEP-0198 resumption, XEP-0386 binding, XEP-0484 tokens, XEP-0480 upgrades). Pure.
 * Slices point into the element or into `tmp`. */
#pragma once
#include "codec/xml_elem.h"
#include "xmpp/sasl.h"

enum {
    SASL2_AGENT_MAX = 256, /* bytes of the name of a software or a device */
    SASL2_TAG_MAX = 128,   /* bytes of the tag in a resource */
    SASL2_PREVID_MAX = 128,
    DEVICE_ID_LEN = 16,
};

/* <user-agent/>: the client, by an id that it keeps. */
struct sasl2_agent {
    bool has_id;
    uint8_t id[DEVICE_ID_LEN]; /* a UUID */
    slice software, device;    /* empty: not said */
};

struct sasl2_request {
    slice mechanism;
    bool has_initial;
    slice initial; /* base64 */
    struct sasl2_agent agent;
    bool bind;
    struct elem bind_elem; /* its parent is the element that was read: both must live */
    slice tag;
    bool resume, resume_bad; /* bad: without what XEP-0198 §5 demands */
    slice previd;
    uint32_t h;
    bool fast, has_count, invalidate;
    int64_t count;
    bool wants_token;
    enum sasl_mech token_mech; /* it shall be for */
    uint32_t upgrades;         /* bits of enum scram_hash */
};

/* `why` of a request that cannot be served; its text for people is static. */
struct sasl2_refusal {
    enum sasl_failure failure;
    const char *text;
};
NODISCARD enum err sasl2_read(struct sasl2_request *out, const struct elem *e, struct arena *tmp,
                              struct sasl2_refusal *why); /* E_SYNTAX */

/* 36 characters to 16 bytes, and back with a NUL. */
NODISCARD enum err device_id_parse(uint8_t out[DEVICE_ID_LEN], slice text);
enum { DEVICE_ID_TEXT = 37 };
void device_id_format(char out[DEVICE_ID_TEXT], const uint8_t id[DEVICE_ID_LEN]);

/* "UPGR-SCRAM-SHA-256" (XEP-0480 §2.1). */
const char *sasl2_task_name(enum scram_hash h);
