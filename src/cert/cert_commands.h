/* cert_commands: the commands that make and change certificates in the data folder: `cert csr`,
 * `cert import`, `cert self-signed` and `cert del`. What they change applies at once, since they
 * reload (app/reload.h). */
#pragma once

struct feature;

extern const struct feature cert_commands_feature;
