/* upload: HTTP File Upload (XEP-0363): slots for the users of this server, asked for at
 * upload.<domain>. The files themselves: upload_http.h. */
#pragma once
#include "base/alarm.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"

extern struct setting upload_files_max, upload_quota, upload_daily, upload_keep, upload_types;
extern struct metric upload_stored, upload_stored_files, upload_served, upload_served_files,
    upload_refused, upload_removed;
extern struct alarm upload_disk_alarm, upload_key_alarm;
extern struct log_area log_upload;
