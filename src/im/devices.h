/* devices: the clients of an account as their owner and operators see and revoke them (commands
 * `device …`, which are also an owner's ad-hoc commands); stored by auth/devices.h. */
#pragma once
#include "auth/devices.h"

struct worker;

/* Revokes a device: its tokens are deleted, logins under way refused, its sessions ended; how many
 * of them is told. At the home of the account. E_NOTFOUND: it has no such device. */
typedef void devices_revoked_fn(void *arg, enum err e, unsigned sessions);
void devices_revoke(struct worker *w, slice bare, const uint8_t id[DEVICE_ID_LEN],
                    devices_revoked_fn *done, void *arg);

extern const struct feature devices_feature;
