/* node_check: checks what a start needs besides the node file: certificates, the data folder,
 * ports. For `musterd --check` and `config check`. Changes nothing. Blocks while it reads files. */
#pragma once
#include <sys/types.h>

struct node_file;
struct node_findings;
struct node_listen_list;

enum { CHECK_BYTES_MAX = 64 * 1024, NODE_LISTENS = 12 };

/* The lists of addresses under `listen` of a node file, by their keys. */
struct node_listens {
    const char *key;
    const struct node_listen_list *list;
};
void node_check_listens(const struct node_file *f, struct node_listens out[NODE_LISTENS]);

/* With mistakes the server does not start, or clients refuse it. Notes say what may be wrong.
 * Ports are not checked while a server uses the data folder. */
void node_check(const struct node_file *file, struct node_findings *out);

enum { NODE_USER_BYTES = 32 };
/* The name of a user, or its number if it has none. */
void node_check_name(char out[NODE_USER_BYTES], uid_t user);
/* Who runs the server: the owner of the data folder, or if that is root's, of the lock in it, which
 * the server made; user muster if there is no such folder. */
uid_t node_check_user(const struct node_file *f);
/* For root: the name of the user that the data folder belongs to; NULL: root, unknown, or the
 * process is not root's. A server of root would leave files there that this user cannot open. */
const char *node_check_owner(const struct node_file *f);
/* If the process runs as root, gives it the rights of the owner of the data folder, or of user
 * muster if there is no such folder, and $HOME of that user, where libpq looks for passwords and
 * certificates; returns that user's name. There is no way back. NULL:
 * nothing has changed. */
const char *node_check_as_service(const struct node_file *file);
