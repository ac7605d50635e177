/* stanza_error, stream_error: the conditions of RFC 6120 §8.3.3 and §4.9.3 as tables, and the one
 * translation from `enum err`. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct xml_write;

enum stanza_error {
    SE_NONE,
    SE_BAD_REQUEST,
    SE_CONFLICT,
    SE_FEATURE_NOT_IMPLEMENTED,
    SE_FORBIDDEN,
    SE_GONE,
    SE_INTERNAL_SERVER_ERROR,
    SE_ITEM_NOT_FOUND,
    SE_JID_MALFORMED,
    SE_NOT_ACCEPTABLE,
    SE_NOT_ALLOWED,
    SE_NOT_AUTHORIZED,
    SE_POLICY_VIOLATION,
    SE_RECIPIENT_UNAVAILABLE,
    SE_REDIRECT,
    SE_REGISTRATION_REQUIRED,
    SE_REMOTE_SERVER_NOT_FOUND,
    SE_REMOTE_SERVER_TIMEOUT,
    SE_RESOURCE_CONSTRAINT,
    SE_SERVICE_UNAVAILABLE,
    SE_SUBSCRIPTION_REQUIRED,
    SE_UNDEFINED_CONDITION,
    SE_UNEXPECTED_REQUEST,
    STANZA_ERROR_COUNT
};
enum stream_error {
    XE_NONE,
    XE_BAD_FORMAT,
    XE_BAD_NAMESPACE_PREFIX,
    XE_CONFLICT,
    XE_CONNECTION_TIMEOUT,
    XE_HOST_GONE,
    XE_HOST_UNKNOWN,
    XE_IMPROPER_ADDRESSING,
    XE_INTERNAL_SERVER_ERROR,
    XE_INVALID_FROM,
    XE_INVALID_NAMESPACE,
    XE_INVALID_XML,
    XE_NOT_AUTHORIZED,
    XE_NOT_WELL_FORMED,
    XE_POLICY_VIOLATION,
    XE_REMOTE_CONNECTION_FAILED,
    XE_RESET,
    XE_RESOURCE_CONSTRAINT,
    XE_RESTRICTED_XML,
    XE_SEE_OTHER_HOST,
    XE_SYSTEM_SHUTDOWN,
    XE_UNDEFINED_CONDITION,
    XE_UNSUPPORTED_ENCODING,
    XE_UNSUPPORTED_FEATURE,
    XE_UNSUPPORTED_STANZA_TYPE,
    XE_UNSUPPORTED_VERSION,
    STREAM_ERROR_COUNT
};

const char *stanza_error_name(enum stanza_error e); /* "bad-request" */
const char *stanza_error_type(enum stanza_error e); /* the default type of §8.3.3: "modify" … */
enum stanza_error stanza_error_find(slice name);    /* SE_NONE: unknown */
enum stanza_error stanza_error_of(enum err e);      /* the translation table */
const char *stream_error_name(enum stream_error e);
enum stream_error stream_error_of_xml(int xml_error); /* of enum xml_error (codec/xml_read.h) */

/* Appends <error type='…'><cond xmlns='…'/>[<text>…</text>]</error>; type NULL: the default;
 * text is plain, escaped here; empty: none. */
void stanza_error_write(struct xml_write *x, enum stanza_error e, const char *type, slice text);
/* The same with 'by' (§8.3.2): the entity that made the error, if it is not the sender; and with an
 * application element behind the others. */
struct stanza_error_parts {
    enum stanza_error error;
    const char *type;
    slice by, text;
    slice app_xml; /* XML; empty: none */
};
void stanza_error_write_parts(struct xml_write *x, const struct stanza_error_parts *p);
/* Appends <stream:error>…</stream:error>; app_xml: an application element (XML), empty: none. */
void stream_error_write(struct xml_write *x, enum stream_error e, slice text, slice app_xml);
