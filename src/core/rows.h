/* rows: the lists that rows.c gathers from the files of the core. */
#pragma once
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/feature.h"
#include "store/store.h"

extern struct metric *const message_metrics[];
extern struct log_area *const message_logs[];
extern struct setting *const session_settings[];
extern struct metric *const session_metrics[];
extern const struct bind2_rule session_bind2[];
extern struct log_area *const session_logs[];
extern struct log_area *const account_logs[];
extern struct metric *const account_metrics[];
extern struct store_stmt *const account_stmts[];

extern const struct feature message_feature, session_feature, account_feature;
extern const struct feature archive_query_feature;
