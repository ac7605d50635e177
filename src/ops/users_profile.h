/* users_profile: what the columns of an account say of its user (account/account_life.h), as
 * arguments of commands. An argument that is given but empty removes the value. */
#pragma once
#include "account/account_life.h"
#include "base/utf8.h"
#include "store/store.h"

struct command_call;

enum { PROFILE_FIELDS = 6, PROFILE_BYTES_MAX = 256, PROFILE_URI_BYTES_MAX = 1023 };
#define USERS_PROFILE_ARG(text, most, ...)                                                         \
    {                                                                                              \
        .name = text, .kind = ARG_OPTION, .max = most, .check = utf8_is_printable,                 \
        .form = "one line without control characters", .doc = __VA_ARGS__                          \
    }
#define USERS_PROFILE_ARGS                                                                         \
    USERS_PROFILE_ARG("given_name", PROFILE_BYTES_MAX, "given name of the user"),                  \
        USERS_PROFILE_ARG("surname", PROFILE_BYTES_MAX, "family name"),                            \
        USERS_PROFILE_ARG("email", PROFILE_BYTES_MAX, "email address"),                            \
        USERS_PROFILE_ARG("department", PROFILE_BYTES_MAX, "department", .example = "Sales"),      \
        USERS_PROFILE_ARG("directory_uri", PROFILE_URI_BYTES_MAX,                                  \
                          "URI by which directories and calls name the user")
#define USERS_TEMPLATE_ARG(says)                                                                   \
    {                                                                                              \
        .name = "template", .kind = ARG_OPTION, .max = PROFILE_BYTES_MAX,                          \
        .refers = REFERS_TEMPLATE, .check = utf8_is_printable,                                     \
        .form = "one line without control characters", .doc = (says)                               \
    }
/* Reads the arguments. false: none is given. */
bool users_profile_given(const struct command_call *call, struct user_profile *out);
/* Adds the profile of an account that has its row, and what features make of that. */
void users_profile_add(struct store_batch *b, slice jid, const struct user_profile *p);
extern struct store_stmt users_profile_put;
/* By the address: when it was created, whether it is disabled, then the fields and the source. */
enum { PROFILE_STORED = 2 /* the column of the first field */ };
extern struct store_stmt users_profile_get;
const char *users_profile_name(unsigned field); /* "given_name"; below PROFILE_FIELDS */
