/* service_admin: Service Administration (XEP-0133): its forms, each of which runs a command row
 * (core/command_form.h). Those of announcements, lists and the end of the server stand with their
 * commands. */
#include "base/buf.h"
#include "base/command.h"
#include "codec/xml_write.h"
#include "core/command_form.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "xmpp/ns.h"

static const struct form_option max_items[] = {
    { "25", "25" },   { "50", "50" },   { "75", "75" },     { "100", "100" },
    { "150", "150" }, { "200", "200" }, { "none", "None" }, { 0 },
};

static const struct command_ask add_user[] = {
    COMMAND_NEED("accountjid", FORM_JID_SINGLE, "The address of the new account", .use = USE_JID,
                 .arg = "jid"),
    COMMAND_ASK("password", FORM_TEXT_PRIVATE, "Its password", .use = USE_VALUE, .arg = "password"),
    COMMAND_ASK("password-verify", FORM_TEXT_PRIVATE, "The password once more", .use = USE_SAME,
                .arg = "password"),
    COMMAND_ASK("email", FORM_TEXT_SINGLE, "Email address", .use = USE_VALUE, .arg = "email"),
    COMMAND_ASK("given_name", FORM_TEXT_SINGLE, "Given name", .use = USE_VALUE,
                .arg = "given_name"),
    COMMAND_ASK("surname", FORM_TEXT_SINGLE, "Family name", .use = USE_VALUE, .arg = "surname"),
    COMMAND_ASK_END,
};
static const struct command_ask each_account[] = {
    COMMAND_NEED("accountjids", FORM_JID_MULTI, "Addresses of accounts", .use = USE_EACH,
                 .arg = "jid"),
    COMMAND_ASK_END,
};
static const struct command_ask each_roster[] = {
    COMMAND_NEED("accountjids", FORM_JID_MULTI, "Addresses of accounts", .use = USE_EACH,
                 .arg = "jid"),
    COMMAND_ASK_END,
};
static const struct command_ask each_session[] = {
    COMMAND_NEED("accountjids", FORM_JID_MULTI, "Addresses; with a resource: only that session",
                 .use = USE_EACH, .arg = "jid"),
    COMMAND_ASK_END,
};
static const struct command_ask one_account[] = {
    COMMAND_NEED("accountjid", FORM_JID_SINGLE, "Address of the account", .use = USE_JID,
                 .arg = "jid"),
    COMMAND_ASK_END,
};
static const struct command_ask change_password[] = {
    COMMAND_NEED("accountjid", FORM_JID_SINGLE, "Address of the account", .use = USE_JID,
                 .arg = "jid"),
    COMMAND_NEED("password", FORM_TEXT_PRIVATE, "The new password", .use = USE_VALUE,
                 .arg = "password"),
    COMMAND_ASK_END,
};
static const struct command_ask admins[] = {
    COMMAND_ASK("adminjids", FORM_JID_MULTI, "The administrators", .use = USE_WORDS, .arg = "value",
                .setting = "admin.accounts"),
    COMMAND_ASK_END,
};
static const struct command_ask at_most[] = {
    { .row = { .var = "max_items",
               .type = FORM_LIST_SINGLE,
               .label = "How many to show at most",
               .options = max_items },
      .use = USE_VALUE,
      .arg = "limit",
      .none = "none" },
    COMMAND_ASK_END,
};

static const struct command_result last_login[] = {
    { "accountjids", "jid", NULL },
    { "lastlogin", "time", NULL },
    { 0 },
};
static const struct command_result statistics[] = {
    { "ipaddresses", "value", "address" },
    { "rostersize", "value", "contacts" },
    { "onlineresources", "value", "resource" },
    { 0 },
};

static bool is_next_owner(const struct command_row *r, slice *owner)
{
    slice jid = command_row_text(r, "owner");
    bool next = !slice_eq(*owner, jid);
    *owner = jid;
    return next;
}

/* The addresses whose they are, and their rosters as clients get them (§4.8), in the same order. */
static void write_rosters(struct xml_write *x, const struct command_call *call)
{
    slice owner = { 0 };
    form_put_open(x, "accountjids", FORM_JID_MULTI);
    for (const struct command_row *r = call->rows; r != NULL; r = r->next)
        if (is_next_owner(r, &owner))
            form_value(x, owner);
    form_field_close(x);
    owner = (slice){ 0 };
    for (const struct command_row *r = call->rows; r != NULL; r = r->next) {
        bool first = owner.len == 0;
        if (is_next_owner(r, &owner)) {
            if (!first)
                xml_close(x);
            xml_open(x, "query", NS_ROSTER);
        }
        xml_raw(x, command_row_text(r, "item"));
    }
    if (owner.len > 0)
        xml_close(x);
}

static const struct command_form forms[] = {
    { ADMIN_NODE("add-user"), .title = "Adding a User",
      .instructions = "Fill out this form to add a user.", .command = "user add",
      .fields = add_user },
    { ADMIN_NODE("delete-user"), .title = "Deleting a User",
      .instructions = "All that belongs to these accounts will be lost.", .command = "user del",
      .fields = each_account },
    { ADMIN_NODE("disable-user"), .title = "Disabling a User",
      .instructions = "Nobody will be able to log in with these accounts.",
      .command = "user disable", .fields = each_account },
    { ADMIN_NODE("reenable-user"), .title = "Re-Enabling a User",
      .instructions = "These accounts can be used again.", .command = "user enable",
      .fields = each_account },
    { ADMIN_NODE("end-user-session"), .title = "Ending a User Session",
      .instructions = "The sessions end; their users may log in again.", .command = "session kick",
      .fields = each_session },
    { ADMIN_NODE("get-user-password"), .title = "Getting a User's Password",
      .refusal = "the server does not know passwords, only what proves them" },
    { ADMIN_NODE("change-user-password"), .title = "Changing a User Password",
      .instructions = "All sessions of the account will end.", .command = "user password",
      .fields = change_password },
    { ADMIN_NODE("get-user-roster"), .title = "Getting a User's Roster",
      .instructions = "Whose contacts do you want to see?", .command = "contact list",
      .fields = each_roster, .write = write_rosters },
    { ADMIN_NODE("get-user-lastlogin"), .title = "Getting a User's Last Login Time",
      .instructions = "Of those who are not online it is when they were last there.",
      .command = "user last", .fields = each_account, .results = last_login },
    { ADMIN_NODE("user-stats"), .title = "Getting User Statistics",
      .instructions = "Whose statistics do you want to see?", .command = "user stats",
      .fields = one_account, .results = statistics },
    { ADMIN_NODE("get-registered-users-num"), .title = "Getting the Number of Registered Users",
      .command = "user count", .fixed = COMMAND_FIXED("state", "registered"),
      .results = COMMAND_RESULT("registeredusersnum", "users") },
    { ADMIN_NODE("get-disabled-users-num"), .title = "Getting the Number of Disabled Users",
      .command = "user count", .fixed = COMMAND_FIXED("state", "disabled"),
      .results = COMMAND_RESULT("disabledusersnum", "users") },
    { ADMIN_NODE("get-online-users-num"), .title = "Getting the Number of Online Users",
      .command = "user count", .fixed = COMMAND_FIXED("state", "online"),
      .results = COMMAND_RESULT("onlineusersnum", "users") },
    { ADMIN_NODE("get-active-users-num"), .title = "Getting the Number of Active Users",
      .command = "user count", .fixed = COMMAND_FIXED("state", "active"),
      .results = COMMAND_RESULT("activeusersnum", "users") },
    { ADMIN_NODE("get-idle-users-num"), .title = "Getting the Number of Idle Users",
      .command = "user count", .fixed = COMMAND_FIXED("state", "idle"),
      .results = COMMAND_RESULT("idleusersnum", "users") },
    { ADMIN_NODE("get-registered-users-list"), .title = "Getting a List of Registered Users",
      .instructions = "How many do you want to see?", .command = "user list", .fields = at_most,
      .results = COMMAND_RESULT("registereduserjids", "jid") },
    { ADMIN_NODE("get-disabled-users-list"), .title = "Getting a List of Disabled Users",
      .instructions = "How many do you want to see?", .command = "user list",
      .fixed = COMMAND_FIXED("disabled", "true"), .fields = at_most,
      .results = COMMAND_RESULT("disableduserjids", "jid") },
    { ADMIN_NODE("get-online-users-list"), .title = "Getting a List of Online Users",
      .instructions = "How many do you want to see?", .command = "user online", .fields = at_most,
      .results = COMMAND_RESULT("onlineuserjids", "jid") },
    { ADMIN_NODE("get-active-users"), .title = "Getting a List of Active Users",
      .instructions = "How many do you want to see?", .command = "user online",
      .fixed = COMMAND_FIXED("state", "active"), .fields = at_most,
      .results = COMMAND_RESULT("activeuserjids", "jid") },
    { ADMIN_NODE("get-idle-users"), .title = "Getting a List of Idle Users",
      .instructions = "How many do you want to see?", .command = "user online",
      .fixed = COMMAND_FIXED("state", "idle"), .fields = at_most,
      .results = COMMAND_RESULT("activeuserjids", "jid") }, /* the name that §4.22 gives it */
    { ADMIN_NODE("edit-admin"), .title = "Editing the Admin List",
      .instructions = "They may run every command from their clients.", .command = "set",
      .fixed = COMMAND_FIXED("setting", "admin.accounts"), .fields = admins },
    { 0 },
};

const struct feature service_admin_feature = {
    .name = "service_admin",
    .xeps =
        (const struct xep[]){
            { "0133", "1.2", "Service Administration", "0.1.0", "services/test_admin",
              "passwords are not stored and cannot be returned; statistics are addresses, "
              "resources and roster size" },
            { 0 },
        },
    .command_forms = forms,
};
