/* control_group: who may use the control socket besides root. */
#pragma once

enum { CONTROL_GROUP_BYTES = 32 };
/* The group whose members may use the socket, or enter its folder if that hides it. Empty: root's,
 * which would give more than this socket, or it is not known. */
void control_group(char out[CONTROL_GROUP_BYTES], const char *path);
