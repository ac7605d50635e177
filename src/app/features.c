#include "app/features.h"
#include "account/guest.h"
#include "admin/alarms.h"
#include "admin/api/api.h"
#include "admin/api/api_events.h"
#include "admin/api/api_self.h"
#include "admin/api/api_session.h"
#include "admin/backup.h"
#include "admin/console_page.h"
#include "admin/health.h"
#include "admin/lifecycle.h"
#include "admin/log_recent.h"
#include "admin/metrics_history.h"
#include "admin/settings/settings.h"
#include "admin/status.h"
#include "admin/trace_jid.h"
#include "admin/trace_message.h"
#include "app/reload.h"
#include "auth/auth.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/cut.h"
#include "base/latency.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "cert/cert_check.h"
#include "cert/cert_commands.h"
#include "cert/cert_monitor.h"
#include "cert/cert_ocsp.h"
#include "cert/cert_revoke.h"
#include "cert/cert_show.h"
#include "cert/cert_trust.h"
#include "cert/cert_watch.h"
#include "cert/tls_settings.h"
#include "component/component_rights.h"
#include "component/component_shown.h"
#include "component/delegation.h"
#include "component/privilege.h"
#include "core/audience.h"
#include "core/feature.h"
#include "core/rows.h"
#include "ext/ext.h"
#include "gate/c2s.h"
#include "gate/component.h"
#include "gate/proxy65.h"
#include "gate/recheck.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/s2s.h"
#include "gate/web.h"
#include "http/server.h"
#include "io/listen.h"
#include "io/metrics.h"
#include "muc/muc.h"
#include "notify/alarm_targets.h"
#include "notify/audit_send.h"
#include "notify/mail.h"
#include "notify/snmp.h"
#include "notify/syslog.h"
#include "notify/webhooks.h"
#include "operate/asks_first.h"
#include "operate/config_check.h"
#include "operate/doctor.h"
#include "operate/other_database.h"
#include "operate/secrets.h"
#include "ops/access.h"
#include "ops/administrators.h"
#include "ops/audit.h"
#include "ops/console.h"
#include "ops/devices.h"
#include "ops/events.h"
#include "ops/jobs.h"
#include "ops/login.h"
#include "ops/outside.h"
#include "ops/outside_endpoint.h"
#include "ops/second_factor.h"
#include "ops/templates.h"
#include "ops/users.h"
#include "presence/caps.h"
#include "presence/presence.h"
#include "presence/presence_in.h"
#include "presence/roster_account.h"
#include "probe/probe.h"
#include "pubsub/pubsub.h"
#include "remote/outgoing_count.h"
#include "remote/remote_contacts.h"
#include "remote/remote_domains.h"
#include "store/store.h"

/* Rows of folders below `im`, which do not know struct feature. */
static const struct feature base_feature = {
    .name = "base",
    .metrics = (struct metric *const[]){ &texts_cut, &log_lines_suppressed, &latency_us, NULL },
    .logs = (struct log_area *const[]){ &log_cut, NULL },
};
static const struct feature io_feature = {
    .name = "io",
    .metrics = io_metrics,
    .alarms = (struct alarm *const[]){ &io_descriptors_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_io, NULL },
};
static const struct feature store_feature = {
    .name = "store",
    .metrics = store_metrics,
    .alarms = (struct alarm *const[]){ &store_full_alarm, &store_down_alarm, &store_refused_alarm,
                                       &store_slow_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_store, NULL },
};
static const struct feature http_feature = {
    .name = "http",
    .settings = http_settings,
    .metrics = http_metrics,
    .alarms = (struct alarm *const[]){ &http_proxy_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_http, NULL },
};
struct log_area log_server = { .name = "server" };
static const struct feature server_feature = {
    .name = "server",
    .schema = &other_database_schema,
    .alarms = (struct alarm *const[]){ &other_database_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_server, NULL },
};
static const struct feature auth_feature = {
    .name = "auth",
    .parts = PART_SESSION | PART_ACCOUNT,
    .schema = &auth_schema,
    .settings = auth_settings,
    .metrics = auth_metrics,
    .logs = auth_logs,
};

/* One a line. Within a stage (core/stage.h) features are called in this order. */
/* clang-format off */
const struct feature *const features_all[] = {
    &base_feature,
    &io_feature,
    &server_feature,
    &store_feature,
    &auth_feature,
    &secrets_feature,
    &backup_feature,
    &http_feature,
    &account_feature,
    &session_feature,
    &message_feature,
    &archive_query_feature,
    &presence_feature, /* before the roster, whose rows it reads when an account is removed */
    &roster_feature,
    &audience_feature,
    &users_feature,
    &templates_feature,
    &access_feature,
    &administrators_feature,
    &second_factor_feature,
    &console_feature,
    &login_feature,
    &audit_feature,
    &events_feature,
    &jobs_feature,
    &outside_feature,
    &outside_endpoint_feature,
    &devices_feature,
    &caps_feature,
    &remote_domains_feature,
    &outgoing_feature,
    &remote_contacts_feature,
    &component_shown_feature,
    &guest_feature,
    &capacity_feature,
    &service_lists_feature,
    &federation_feature,
    &mail_address_feature,
    &carbons_feature,
    &csi_feature,
    &contacts_feature,
    &import_feature,
    &disco_feature,
    &invisible_feature,
    &pubsub_feature,
    &pubsub_host_feature,
    &pep_feature,
    &bookmarks_feature,
    &displayed_feature,
    &avatar_feature,
    &vcard4_feature,
    &groups_feature,
    &last_feature,
    &mam_feature,
    &mdm_feature,
    &messaging_feature,
    &multicast_feature,
    &ping_feature,
    &privacy_feature,
    &private_feature,
    &adhoc_feature,
    &announce_feature,
    &search_feature,
    &service_admin_feature,
    &extdisco_feature,
    &upload_feature,
    &push_feature,
    &report_feature,
    &register_feature,
    &sift_feature,
    &retrieval_feature,
    &time_feature,
    &vcard_feature,
    &version_feature,
    &watch_feature,
    &webchat_feature,
    &muc_service_feature,
    &muc_feature,
    &muc_admin_feature,
    &muc_register_feature,
    &muc_follow_feature,
    &muc_mention_feature,
    &muc_bookmark_feature,
    &muc_administrators_feature,
    &muc_alias_feature,
    &muc_owner_feature,
    &muc_ping_feature,
    &muc_remote_feature,
    &muc_remote_seats_feature,
    &muc_missed_feature,
    &muc_removed_feature,
    &room_archive_feature,
    &muc_query_feature,
    &muc_reach_feature,
    &muc_operate_feature,
    &muc_cleanup_feature,
    &muc_leavers_feature,
    &muc_moderate_feature,
    &muc_file_feature,
    &muc_metrics_feature,
    &muc_vcard_feature,
    &muc_hats_feature,
    &c2s_feature,
    &component_feature,
    &s2s_feature,
    &s2s_lists_feature,
    &probe_feature,
    &component_rights_feature,
    &delegation_feature,
    &privilege_feature,
    &proxy65_feature,
    &bosh_feature,
    &host_meta_feature,
    &websocket_feature,
    &settings_feature,
    &status_feature,
    &alarms_feature,
    &metrics_feature,
    &metrics_history_feature,
    &log_recent_feature,
    &trace_feature,
    &trace_jid_feature,
    &lifecycle_feature,
    &api_feature,
    &api_events_feature,
    &console_page_feature,
    &api_session_feature,
    &api_self_feature,
    &health_feature,
    &log_feature,
    &config_check_feature,
    &doctor_feature,
    &cert_watch_feature,
    &cert_monitor_feature,
    &mail_feature,
    &syslog_feature,
    &snmp_feature,
    &alarm_targets_feature,
    &audit_send_feature,
    &webhooks_feature,
    &cert_ocsp_feature,
    &cert_revoke_feature,
    &recheck_feature,
    &tls_settings_feature,
    &cert_show_feature,
    &cert_check_feature,
    &cert_commands_feature,
    &cert_trust_feature,
    &reload_feature,
#ifdef MUSTER_DEBUG
    &asks_first_feature,
#endif
    NULL,
};
/* clang-format on */

static void register_rows(const struct feature *f)
{
    for (struct setting *const *s = f->settings; s != NULL && *s != NULL; s++)
        setting_register(*s);
    for (struct command *const *c = f->commands; c != NULL && *c != NULL; c++)
        command_register(*c);
    for (struct metric *const *m = f->metrics; m != NULL && *m != NULL; m++)
        metric_register(*m);
    for (struct alarm *const *a = f->alarms; a != NULL && *a != NULL; a++)
        alarm_register(*a);
    for (struct log_area *const *l = f->logs; l != NULL && *l != NULL; l++)
        log_register(*l);
}

void features_register(void)
{
    for (const struct feature *const *f = features_all; *f != NULL; f++)
        register_rows(*f);
}

void features_check(void)
{
    settings_check();
    commands_check();
}

const struct store_schema *const *features_schemas(struct arena *arena)
{
    size_t count = sizeof features_all / sizeof features_all[0], used = 0;
    const struct store_schema **schemas = arena_new(arena, const struct store_schema *, count);
    for (const struct feature *const *f = features_all; *f != NULL; f++) {
        if ((*f)->schema != NULL)
            schemas[used++] = (*f)->schema;
    }
    return schemas;
}
