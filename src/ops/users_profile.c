#include "ops/users_profile.h"
#include "base/command.h"
#include "base/ensure.h"
#include "core/feature.h"

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

struct store_stmt users_profile_get = {
    .name = "users.profile",
    .sql = "SELECT created_us, disabled, given_name, surname, email, department, directory_uri,"
           " template, source FROM account WHERE jid = $1",
    .params = "t",
    .cols = "iittttttt",
};

const char *users_profile_name(unsigned field)
{
    static const char *const name[PROFILE_FIELDS] = { "given_name", "surname",       "email",
                                                      "department", "directory_uri", "template" };
    ensure(field < PROFILE_FIELDS);
    return name[field];
}

bool users_profile_given(const struct command_call *call, struct user_profile *out)
{
    *out = (struct user_profile){ .given_name = command_arg(call, "given_name"),
                                  .surname = command_arg(call, "surname"),
                                  .email = command_arg(call, "email"),
                                  .department = command_arg(call, "department"),
                                  .directory_uri = command_arg(call, "directory_uri"),
                                  .template = command_arg(call, "template") };
    return out->given_name.ptr != NULL || out->surname.ptr != NULL || out->email.ptr != NULL ||
           out->department.ptr != NULL || out->directory_uri.ptr != NULL ||
           out->template.ptr != NULL;
}

void users_profile_add(struct store_batch *b, slice jid, const struct user_profile *p)
{
    const slice text[PROFILE_FIELDS] = { p->given_name, p->surname,       p->email,
                                         p->department, p->directory_uri, p->template };
    struct store_val vals[1 + PROFILE_FIELDS] = { SV_T(jid) };
    ensure(jid.len > 0);
    for (unsigned i = 0; i < PROFILE_FIELDS; i++)
        vals[1 + i] = text[i].ptr == NULL ? SV_NULL : SV_T(text[i]);
    store_add(b, &users_profile_put, 1, vals, 1 + PROFILE_FIELDS);
    EMIT_ONE(profiles, profile, b, jid, p);
}
