/* audit_command: makes the entries of the audit log, and sends them to their home. */
#include "ops/audit_command.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/utf8.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/question.h"
#include "ops/audit_chain.h"

struct log_area audit_log_commands = {
    .name = "command",
    .permission = "audit.read",
    .whole = true,
};

/* by NULL: nobody waits. */
static void audit_send(const struct command_call *call, const struct asker *by)
{
    struct buf args;
    struct worker *w = worker_here();
    buf_init(&args, AUDIT_BYTES_MAX);
    command_audit_args(call, &args);
    const struct principal *p = &call->who;
    struct audit_texts t = {
        .at_us = clock_wall_us(),
        .text = { utf8_head(p->actor, AUDIT_ACTOR_MAX), utf8_head(p->from, AUDIT_ACTOR_MAX),
                  utf8_head(p->role, AUDIT_ACTOR_MAX), slice_of(call->command->name),
                  buf_fit(&args), slice_of(err_name(call->err)), call->before, call->after },
        .job = call->job
    };
    uint32_t node;
    unsigned home = duty_home(worker_node(w), DUTY_AUDIT, &node);
    if (by == NULL)
        duty_send(w, DUTY_AUDIT, &audit_message, &t);
    else
        home_ask_at(w, node, home, &audit_message, &t, by);
    buf_fini(&args);
}

void audit_command(const struct command_call *call)
{
    command_audit(call, &audit_log_commands);
    if (command_is_audited(call))
        audit_send(call, NULL);
}

void audit_attempt_then(const struct command_call *call, audit_then_fn *then, void *arg)
{
    ensure(call->ended);
    command_audit(call, &audit_log_commands);
    if (command_is_audited(call))
        audit_send(call, &(struct asker){ .done = then, .arg = arg });
    else
        then(worker_here(), arg);
}

void audit_command_then(const struct command_call *call, audit_then_fn *then, void *arg)
{
    if (call->err == OK) {
        audit_attempt_then(call, then, arg);
        return;
    }
    audit_command(call);
    then(worker_here(), arg);
}

void audit_cut_off(struct command_call *call, slice args, slice what)
{
    const struct principal *p = &call->who;
    if (command_is_audited(call))
        duty_send(worker_here(), DUTY_AUDIT, &audit_message,
                  &(struct audit_texts){ .at_us = clock_wall_us(),
                                         .text = { utf8_head(p->actor, AUDIT_ACTOR_MAX),
                                                   utf8_head(p->from, AUDIT_ACTOR_MAX),
                                                   utf8_head(p->role, AUDIT_ACTOR_MAX),
                                                   slice_of(call->command->name), args,
                                                   slice_of(err_name(E_CANCELED)), SLICE_INIT(""),
                                                   utf8_head(what, COMMAND_CHANGED_MAX) },
                                         .job = call->job });
    call->recorded = true;
}

void audit_of_server(const char *command, slice args, slice before, slice after)
{
    duty_send(worker_here(), DUTY_AUDIT, &audit_message,
              &(struct audit_texts){ .at_us = clock_wall_us(),
                                     .text = { SLICE_INIT("server"),
                                               { 0 },
                                               SLICE_INIT("administrator"),
                                               slice_of(command),
                                               utf8_head(args, AUDIT_BYTES_MAX),
                                               slice_of(err_name(OK)),
                                               utf8_head(before, COMMAND_CHANGED_MAX),
                                               utf8_head(after, COMMAND_CHANGED_MAX) } });
}
