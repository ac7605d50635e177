#include "ops/users_profile.h"
#include "base/command.h"
#include "base/ensure.h"
#include "im/account_life.h"
#include "im/feature.h"

struct store_stmt users_profile_put = {
    .name = "users.profile-put",
    .sql = "UPDATE account SET given_name = coalesce($2, given_name),"
           " surname = coalesce($3, surname), email = coalesce($4, email),"
           " department = coalesce($5, department),"
           " directory_uri = coalesce($6, directory_uri), template = coalesce($7, template)"
           " WHERE jid = $1",
    .params = "tTTTTTT",
    .cols = "",
};
/* In the order of the columns. */
static const char *const fields[PROFILE_FIELDS] = { "given_name", "surname",       "email",
                                                    "department", "directory_uri", "template" };
bool users_profile_add(const struct command_call *call, struct store_batch *b)
{
    slice jid = command_arg(call, "jid"), text[PROFILE_FIELDS];
    struct store_val vals[1 + PROFILE_FIELDS] = { SV_T(jid) };
    bool some = false;
    ensure(jid.len > 0);
    for (unsigned i = 0; i < PROFILE_FIELDS; i++) {
        text[i] = command_arg(call, fields[i]);
        vals[1 + i] = text[i].ptr == NULL ? SV_NULL : SV_T(text[i]);
        some |= text[i].ptr != NULL;
    }
    if (!some)
        return false;
    const struct user_profile p = { .given_name = text[0],
                                    .surname = text[1],
                                    .email = text[2],
                                    .department = text[3],
                                    .directory_uri = text[4],
                                    .template = text[5] };
    store_add(b, &users_profile_put, 1, vals, 1 + PROFILE_FIELDS);
    EMIT(account.profile, b, jid, &p);
    return true;
}
