/* node_check: what a start would find beside the node file: certificates, the data folder, ports.
 * For `musterd --check` and `config check`. Changes nothing, blocks while it reads files. */
#pragma once

struct buf;
struct node_file;

enum { CHECK_BYTES_MAX = 64 * 1024 };

/* Mistakes: with them the server does not start, or clients are refused. Notes: what may be wrong.
 * One line each. While a server runs on the data folder of the file, ports are not looked at. */
void node_check(const struct node_file *file, struct buf *mistakes, struct buf *notes);

/* For a process that does nothing but check: where it is root's, it takes for good the rights of
 * the user whom the data folder belongs to; without that folder, of user muster. Returns the name
 * of that user, NULL: nothing has changed. */
const char *node_check_as_service(const struct node_file *file);
