/* devices: the clients of an account as their owner and operators see and revoke them (commands
 * `device …`, which are also an owner's ad-hoc commands); stored by auth/devices.h. */
#pragma once

struct feature;

extern const struct feature devices_feature;
