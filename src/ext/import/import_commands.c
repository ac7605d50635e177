/* import_commands: the commands `import KIND PATH` and `export xep0227`, and the feature. */
#include "base/command.h"
#include "base/log.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "ext/import/import.h"
#include "ext/import/import_export.h"
#include "home/here.h"
#include "home/node.h"
#include "store/store.h"

static void run_from(struct command_call *call, slice path, bool once)
{
    const struct node *n = worker_node(call->worker);
    struct import_from from = { .path = path, .once = once };
    if (command_has_arg(call->command, "domain")) {
        from.domain = command_arg(call, "domain");
        if (from.domain.len == 0 && n->domain_count == 1)
            from.domain = n->domains[0];
    }
    import_run(call, &from);
}

static void run_pie(struct command_call *call) { run_from(call, command_arg(call, "file"), false); }

/* The path is of the folder that musterctl has made of the source. */
static void run_converted(struct command_call *call)
{
    run_from(call, command_arg(call, call->command->args[0].name), true);
}

#define IMPORT_ARGS(name_, doc_, ...)                                                              \
    (const struct command_arg[])                                                                   \
    {                                                                                              \
        { .name = name_,                                                                           \
          .kind = ARG_POSITIONAL,                                                                  \
          .type = PARAM_PATH,                                                                      \
          .check = param_is_absolute,                                                              \
          .form = PARAM_ABSOLUTE,                                                                  \
          .doc = doc_ },                                                                           \
            { .name = "dry_run",                                                                   \
              .kind = ARG_FLAG,                                                                    \
              .type = PARAM_BOOL,                                                                  \
              .doc = "change nothing; only report" },                                              \
            { .name = "replace",                                                                   \
              .kind = ARG_FLAG,                                                                    \
              .type = PARAM_BOOL,                                                                  \
              .doc = "delete what accounts that are there already have, and make them anew; "      \
                     "roles and affiliations with rooms stay" },                                   \
            { .name = "template",                                                                  \
              .kind = ARG_OPTION,                                                                  \
              .refers = REFERS_TEMPLATE,                                                           \
              .doc = "template that says what accounts are given that were not there before" },    \
            __VA_ARGS__                                                                            \
    }
#define IMPORT_COLUMNS                                                                             \
    (const struct command_column[])                                                                \
    {                                                                                              \
        { .name = "user", .doc = "the account, as the source calls it" },                          \
            { .name = "what",                                                                      \
              .doc = "what does not come along, why it is refused, or that it is disabled" },      \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#define IMPORT_COMMAND(var, name_, run_, converts_, args_, doc_)                                   \
    static struct command var = {                                                                  \
        .name = name_,                                                                             \
        .effect = COMMAND_CHANGES,                                                                 \
        .area = "users",                                                                           \
        .access = COMMAND_LOCAL,                                                                   \
        .asks = "Accounts that are there already are deleted, with all they have.",                \
        .asks_if = "replace",                                                                      \
        .job = true,                                                                               \
        .args = args_,                                                                             \
        .run = run_,                                                                               \
        .converts = converts_,                                                                     \
        .columns = IMPORT_COLUMNS,                                                                 \
        .report = true,                                                                            \
        .doc = doc_                                                                                \
        " An account is one transaction. Accounts that are there already are left alone, so "      \
        "an import that was interrupted is run again. It fails (exit status 1) if a user, a room " \
        "or a group is refused; the others are imported all the same."                             \
    }

/* So that who gives the command by another way than musterctl knows what to give. */
#define CONVERTED                                                                                  \
    " musterctl reads it, with muster-convert, and gives the server a folder of XEP-0227 and "     \
    "JSON, "                                                                                       \
    "which is deleted in the end."

IMPORT_COMMAND(
    import_pie, "import xep0227", run_pie, NULL,
    IMPORT_ARGS("file",
                "file on the server's host; what it includes is beside it. Or a folder that "
                "muster-convert has written",
                { 0 }),
    "Makes accounts from a file of XEP-0227: keys or passwords, contacts, vCards, blocks "
    "and privacy lists, private data, bookmarks and other PEP nodes, messages.");
IMPORT_COMMAND(
    import_ejabberd, "import ejabberd", run_converted, "ejabberd",
    IMPORT_ARGS("file", "file of `ejabberdctl dump` on the server's host", { 0 }),
    "Makes accounts from a dump of ejabberd's own database (Mnesia), with archives. Then "
    "its persistent rooms, with configuration, affiliations, subject and archive; one "
    "that is there already is never changed. Last its shared roster groups. A file of `ejabberdctl "
    "export_piefxis` is "
    "read, too: that has neither archives, PEP, rooms nor groups." CONVERTED);
IMPORT_COMMAND(
    import_prosody, "import prosody", run_converted, "prosody",
    IMPORT_ARGS("folder", "data_path of Prosody on the server's host, such as /var/lib/prosody",
                { .name = "groups_file",
                  .kind = ARG_OPTION,
                  .type = PARAM_PATH,
                  .check = param_is_absolute,
                  .form = PARAM_ABSOLUTE,
                  .doc = "groups_file of its mod_groups, on the server's host" },
                { 0 }),
    "Makes accounts from the data folder of Prosody: it has to be stopped. Its files "
    "are read, and its database of SQLite, prosody.sqlite, which may also be given "
    "instead of the folder. Then its persistent rooms, with configuration, affiliations, "
    "subject and archive; one that is there already is never changed. Last the groups "
    "of its mod_groups, if their file is given." CONVERTED);
IMPORT_COMMAND(
    import_openfire, "import openfire", run_converted, "openfire",
    IMPORT_ARGS("file", "file of the plugin on the server's host",
                { .name = "domain",
                  .kind = ARG_OPTION,
                  .type = PARAM_HOME_DOMAIN,
                  .doc = "domain of the users, which the plugin's own format does not say; needed "
                         "if this server has several" },
                { 0 }),
    "Makes accounts from an export of Openfire: a file of its plugin User Import/Export, in its "
    "own format or as a file of XEP-0227." CONVERTED);

const struct feature import_feature = {
    .name = "import",
    .parts = PART_ACCOUNT,
    .xeps =
        (const struct xep[]){
            { "0227", "1.1", "Portable Import/Export Format for XMPP-IM Servers", "0.2.0",
              "operate/test_import", "accounts of this server's domains; XInclude as in its §5" },
            { 0 },
        },
    .schema = &import_schema,
    .commands = (struct command *const[]){ &import_pie, &import_ejabberd, &import_prosody,
                                           &import_openfire, &export_pie_command, NULL },
    .logs = (struct log_area *const[]){ &log_import, NULL },
    .worker.start = import_worker_start,
};
