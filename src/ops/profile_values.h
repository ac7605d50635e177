/* profile_values: what commands say of a value of profiles (ops/users_profile.h) that no account
 * has. It may be there tomorrow, so it is no mistake, but it is often a typing error. */
#pragma once
#include "store/store.h"

struct command_call;

/* A column of accounts as rules name it: department, template, email, given-name, surname,
 * directory-uri, source. Both texts must outlive the call of `then`. */
struct profile_value {
    slice field, value;
};
enum { PROFILE_VALUES_MAX = 8 };

/* Notes in the call each value that no account has now, and a similar one that some account has.
 * Then calls `then`, also after a failure of the database. */
void profile_values_note(struct command_call *call, const struct profile_value *values,
                         unsigned count, void (*then)(void *arg), void *arg);

extern struct store_stmt profile_value_find, profile_values_all;
