/* mam: Message Archive Management (XEP-0313, preferences XEP-0441, full text XEP-0431, tombstones
 * XEP-0424), one feature in the files mam*.c. The archive itself, what every account sent and
 * received, belongs to archive/archive.h; here it is asked for, kept small, and edited. */
#pragma once
#include "base/setting.h"

extern struct setting mam_enabled, mam_default, mam_users_choose, mam_page_default, mam_page_max;
