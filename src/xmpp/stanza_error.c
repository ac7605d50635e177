#include "xmpp/stanza_error.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "codec/xml_write.h"
#include "xmpp/ns.h"

/* RFC 6120 §8.3.3, with the type that each section recommends */
static const struct {
    const char *name, *type;
} conditions[STANZA_ERROR_COUNT] = {
    [SE_NONE] = { "", "" },
    [SE_BAD_REQUEST] = { "bad-request", "modify" },
    [SE_CONFLICT] = { "conflict", "cancel" },
    [SE_FEATURE_NOT_IMPLEMENTED] = { "feature-not-implemented", "cancel" },
    [SE_FORBIDDEN] = { "forbidden", "auth" },
    [SE_GONE] = { "gone", "cancel" },
    [SE_INTERNAL_SERVER_ERROR] = { "internal-server-error", "cancel" },
    [SE_ITEM_NOT_FOUND] = { "item-not-found", "cancel" },
    [SE_JID_MALFORMED] = { "jid-malformed", "modify" },
    [SE_NOT_ACCEPTABLE] = { "not-acceptable", "modify" },
    [SE_NOT_ALLOWED] = { "not-allowed", "cancel" },
    [SE_NOT_AUTHORIZED] = { "not-authorized", "auth" },
    [SE_POLICY_VIOLATION] = { "policy-violation", "modify" },
    [SE_RECIPIENT_UNAVAILABLE] = { "recipient-unavailable", "wait" },
    [SE_REDIRECT] = { "redirect", "modify" },
    [SE_REGISTRATION_REQUIRED] = { "registration-required", "auth" },
    [SE_REMOTE_SERVER_NOT_FOUND] = { "remote-server-not-found", "cancel" },
    [SE_REMOTE_SERVER_TIMEOUT] = { "remote-server-timeout", "wait" },
    [SE_RESOURCE_CONSTRAINT] = { "resource-constraint", "wait" },
    [SE_SERVICE_UNAVAILABLE] = { "service-unavailable", "cancel" },
    [SE_SUBSCRIPTION_REQUIRED] = { "subscription-required", "auth" },
    [SE_UNDEFINED_CONDITION] = { "undefined-condition", "cancel" },
    [SE_UNEXPECTED_REQUEST] = { "unexpected-request", "wait" },
};

/* RFC 6120 §4.9.3 */
static const char *const stream_conditions[STREAM_ERROR_COUNT] = {
    [XE_NONE] = "",
    [XE_BAD_FORMAT] = "bad-format",
    [XE_BAD_NAMESPACE_PREFIX] = "bad-namespace-prefix",
    [XE_CONFLICT] = "conflict",
    [XE_CONNECTION_TIMEOUT] = "connection-timeout",
    [XE_HOST_GONE] = "host-gone",
    [XE_HOST_UNKNOWN] = "host-unknown",
    [XE_IMPROPER_ADDRESSING] = "improper-addressing",
    [XE_INTERNAL_SERVER_ERROR] = "internal-server-error",
    [XE_INVALID_FROM] = "invalid-from",
    [XE_INVALID_NAMESPACE] = "invalid-namespace",
    [XE_INVALID_XML] = "invalid-xml",
    [XE_NOT_AUTHORIZED] = "not-authorized",
    [XE_NOT_WELL_FORMED] = "not-well-formed",
    [XE_POLICY_VIOLATION] = "policy-violation",
    [XE_REMOTE_CONNECTION_FAILED] = "remote-connection-failed",
    [XE_RESET] = "reset",
    [XE_RESOURCE_CONSTRAINT] = "resource-constraint",
    [XE_RESTRICTED_XML] = "restricted-xml",
    [XE_SEE_OTHER_HOST] = "see-other-host",
    [XE_SYSTEM_SHUTDOWN] = "system-shutdown",
    [XE_UNDEFINED_CONDITION] = "undefined-condition",
    [XE_UNSUPPORTED_ENCODING] = "unsupported-encoding",
    [XE_UNSUPPORTED_FEATURE] = "unsupported-feature",
    [XE_UNSUPPORTED_STANZA_TYPE] = "unsupported-stanza-type",
    [XE_UNSUPPORTED_VERSION] = "unsupported-version",
};

/* The stanza error for the outcome of an operation. A store that cannot answer is
 * resource-constraint: its type `wait` tells the client to try again (architecture §6). */
static const enum stanza_error translated[] = {
    [OK] = SE_NONE,
    [E_AGAIN] = SE_RESOURCE_CONSTRAINT,
    [E_EOF] = SE_INTERNAL_SERVER_ERROR,
    [E_LIMIT] = SE_POLICY_VIOLATION,
    [E_PROTO] = SE_BAD_REQUEST,
    [E_SYNTAX] = SE_BAD_REQUEST,
    [E_AUTH] = SE_NOT_AUTHORIZED,
    [E_DENIED] = SE_FORBIDDEN,
    [E_NOTFOUND] = SE_ITEM_NOT_FOUND,
    [E_EXISTS] = SE_CONFLICT,
    [E_CONFLICT] = SE_CONFLICT,
    [E_TIMEOUT] = SE_RESOURCE_CONSTRAINT,
    [E_CANCELED] = SE_RESOURCE_CONSTRAINT,
    [E_IO] = SE_INTERNAL_SERVER_ERROR,
    [E_FULL] = SE_RESOURCE_CONSTRAINT,
    [E_DOWN] = SE_RESOURCE_CONSTRAINT,
    [E_CORRUPT] = SE_INTERNAL_SERVER_ERROR,
    [E_UNSUPPORTED] = SE_FEATURE_NOT_IMPLEMENTED,
    [E_INTERNAL] = SE_INTERNAL_SERVER_ERROR,
    [E_OUTSIDE] = SE_RESOURCE_CONSTRAINT,
    [E_PART] = SE_CONFLICT,
};
_Static_assert(sizeof translated / sizeof translated[0] == ERR_COUNT, "every enum err has a row");

const char *stanza_error_name(enum stanza_error e)
{
    ensure((unsigned)e < STANZA_ERROR_COUNT);
    return conditions[e].name;
}

const char *stanza_error_type(enum stanza_error e)
{
    ensure((unsigned)e < STANZA_ERROR_COUNT);
    return conditions[e].type;
}

enum stanza_error stanza_error_find(slice name)
{
    for (unsigned e = SE_NONE + 1; e < STANZA_ERROR_COUNT; e++)
        if (slice_is(name, conditions[e].name))
            return (enum stanza_error)e;
    return SE_NONE;
}

enum stanza_error stanza_error_of(enum err e)
{
    ensure((unsigned)e < ERR_COUNT);
    return translated[e];
}

const char *stream_error_name(enum stream_error e)
{
    ensure((unsigned)e < STREAM_ERROR_COUNT);
    return stream_conditions[e];
}

enum stream_error stream_error_of_xml(int xml_error)
{
    switch ((enum xml_error)xml_error) {
    case XML_OK:
        return XE_NONE;
    case XML_NOT_WELL_FORMED:
        return XE_NOT_WELL_FORMED;
    case XML_RESTRICTED:
        return XE_RESTRICTED_XML; /* RFC 6120 §11.1 */
    case XML_BAD_UTF8:
    case XML_BAD_ENCODING:
        return XE_UNSUPPORTED_ENCODING; /* RFC 6120 §11.6 */
    case XML_BAD_NAMESPACE:
        return XE_BAD_NAMESPACE_PREFIX; /* RFC 6120 §4.9.3.2 */
    case XML_TOO_BIG:
        return XE_POLICY_VIOLATION; /* RFC 6120 §4.9.3.14 */
    }
    return XE_INTERNAL_SERVER_ERROR;
}

/* <name xmlns='ns'/> and, unless it is empty, <text xmlns='ns'>text</text> */
static void write_condition(struct xml_write *x, const char *name, const char *ns, slice text)
{
    xml_empty(x, name, ns);
    if (text.len == 0)
        return;
    xml_open(x, "text", ns);
    xml_text_clean(x, text);
    xml_close(x);
}

void stanza_error_write_parts(struct xml_write *x, const struct stanza_error_parts *p)
{
    ensure(p->error != SE_NONE);
    xml_open(x, "error", NULL);
    xml_attr(x, "type", slice_of(p->type != NULL ? p->type : stanza_error_type(p->error)));
    xml_attr_some(x, "by", p->by);
    write_condition(x, stanza_error_name(p->error), NS_STANZA_ERROR, p->text);
    xml_raw(x, p->app_xml);
    xml_close(x);
}

void stanza_error_write(struct xml_write *x, enum stanza_error e, const char *type, slice text)
{
    stanza_error_write_parts(
        x, &(struct stanza_error_parts){ .error = e, .type = type, .text = text });
}

void stream_error_write(struct xml_write *x, enum stream_error e, slice text, slice app_xml)
{
    ensure(e != XE_NONE);
    xml_open(x, "stream:error", NULL);
    write_condition(x, stream_error_name(e), NS_STREAM_ERROR, text);
    xml_raw(x, app_xml);
    xml_close(x);
}
