#include "ops/host_folder.h"

struct setting host_folder = {
    .name = "backup.folder",
    .type = PARAM_PATH,
    .scope = SCOPE_NODE,
    .check = param_is_absolute,
    .form = PARAM_ABSOLUTE,
    .def_text = "/var/lib/muster-backups",
    .doc =
        "Folder of the server's host for backups and exported rooms. `backup list` shows what is "
        "in it. The console, the API and XMPP clients can use no other folder for them. It must "
        "exist, and musterd must be able to write to it.",
};
