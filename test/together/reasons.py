"""What stands in the table of pairs (table.py) where no seed does."""

TESTS = {  # pair, in the order of the alphabet: file::test
    (one, "watch"): "rooms/test_follow.py::test_followers_who_watch_and_are_watched"
    for one in ("muc_bookmark", "muc_follow", "muc_mention")
} | {
    ("muc_admin", "muc_operate"):
        "rooms/test_commands.py::test_owners_and_operators_change_the_same_affiliations",
}

# Features that no seed drives, and why they need no other one beside them.
ALONE = {
    "devices": "keeps the id of a client beside its session, for lists of devices and tokens; it "
               "sees no stanza (stream/test_fast.py, stream/test_password.py)",
    "guest": "off by default; a guest has no account, and what it may not say is refused before "
             "any other feature sees it (stream/test_guest.py)",
    "muc_ping": "asks only occupants at domains of components; one who does not answer leaves as "
                "by an error of its own, which is what others see (rooms/test_ping.py)",
    "groups": "acts only where an operator makes groups; who is in one is a contact with both "
              "subscriptions (im/test_groups.py has blocking, policies, versions, PEP, archives, "
              "deletion, a crash and two nodes)",
    "console": "has sessions of browsers; it meets an account only when that is deleted, disabled "
               "or has another password (surface/test_console_login.py), and no stanza",
    "trace_jid": "writes stanzas of one user to the log, for operators, and changes none; it meets "
                 "an account only when that is deleted (operate/test_owners.py)",
    "second_factor": "is asked for at the console only; it meets an account when that is renamed "
                     "or deleted (surface/test_console_login.py), and no stanza",
    "access": "says who may run which command; it meets an account only when that is renamed or "
              "deleted (operate/test_roles.py), and no stanza",
    "import": "makes an account before anybody can load it, as the tables have it that features "
              "load; from then on it is one like any other (operate/test_import.py logs in to it)",
    "events": "off unless a webhook wants them; it hears that accounts and sessions begin and end, "
              "and tells of that outside (operate/test_webhooks.py)",
    "delegation": "off by default; a seed has no component (test_delegation.py has archives, "
                  "carbons, discovery, blocking, two nodes, and components that go)",
    "privilege": "off by default; a seed has no component (test_privilege.py has archives, "
                 "carbons, contact lists, blocking and two nodes)",
    "s2s-lists": "routes and demands of s2s, which a seed has not (federation/test_s2s_routes.py, "
                 "federation/test_s2s_trust.py)",
    "remote_domains": "there are no other domains where s2s.policy is off; a seed has one server "
                      "(federation/test_remote_*.py have two, Prosody and ejabberd)",
    "remote_contacts": "the same: it acts on the presence of contacts on other servers alone, by "
                       "presence and probes that others see as from there",
    "component_shown": "it acts when a component connects that was not connected, by presence that "
                       "others see as of sessions that have ended (test_component_lost.py)",
    "muc_remote": "the same: it removes occupants of other servers alone, as an error to a message "
                  "does",
    "muc_remote_seats": "the same: it keeps the seats of occupants of other servers over a restart "
                        "(federation/test_remote_rooms.py)",
    "muc_missed": "the same: it sends presence again to occupants of other servers alone "
                  "(rooms/test_ghosts.py)",
    "muc_removed": "the same: it tells occupants of other servers alone that they were removed "
                   "(rooms/test_ghosts.py)",
    "s2s": "off by default; a seed has one server (test_s2s*.py have two, Prosody and ejabberd, "
           "with contacts, rooms, archives and carbons)",
    "outgoing": "it counts stored messages for other servers; a seed has one server "
                "(federation/test_s2s_sm.py)",
    "mail-address": "it changes addresses as stanzas leave for other servers and come from them; a "
                    "seed has one server (federation/test_mail_address.py)",
    "federation": "it says something of foreign domains alone; a seed has one server "
                  "(test_s2s_policy.py has two, with contacts, rooms, blocking and departments)",
    "pushtest": "an address that answers to one notification of a running pushtest, and to nobody "
                "else (federation/test_fedtest_imtest.py)",
    "tests": "off by default; the schedule and the results of tests from outside. A test user is "
             "an account like any other, which lists, counts and user search leave out "
             "(federation/test_fedtest_imtest.py)",
    "proxy65": "off by default; it answers with settings, and carries bytes on connections of its "
               "own, where there are no stanzas (services/test_proxy65.py)",
}

# Features that take part in none of it: no stanza comes to them, and they change nothing that one
# meets.
APART = {
    "base": "counts texts that were cut or left out",
    "io": "counts bytes and descriptors for metrics and an alarm",
    "server": "an alarm of a database that is not used",
    "store": "the database",
    "administrators": "are people who have no account",
    "api_session": "lets browsers log in; no stanza comes to it",
    "api_self": "changes passwords and second factors of administrators; no stanza comes to it",
    "console_page": "gives browsers the files of the console",
    "audit": "keeps what operators did",
    "webhooks": "sends events by HTTP",
    "audit-send": "sends what audit keeps to a syslog server and to journald",
    "alarms": "keeps what alarms did",
    "alarm-targets": "tells of alarms by mail, to syslog, to journald and by SNMP",
    "snmp": "gives alarms to the program that sends them",
    "syslog": "settings of the syslog server and of journald",
    "login": "compares passwords of the console; no stanza comes to it",
    "secrets": "commands that make keys anew",
    "templates": "commands; what a new account is given are rows of federation, groups and privacy",
    "backup": "commands that copy the database and files",
    "jobs": "commands that list work of other features, which adhoc runs, too",
    "http": "the server of web addresses; those who answer there are features of their own",
    "capacity": "an alarm when more clients are connected than planned for",
    "service_admin": "names and forms for commands of other features, which adhoc shows and runs",
    "report": "a command that lists sessions",
    "probe": "commands that log in elsewhere as any client does, and open streams of their own to "
             "other servers; what they send is handled like stanzas of any user",
    "webchat": "files for a web browser",
    "api_events": "writes what happens to those who follow it over the API; no stanza comes to it",
    "log_recent": "keeps the newest lines of the log",
    "metrics_history": "keeps what metrics were",
    "doctor": "looks at the machine, the name servers and the node",
    "trace": "notes the ways of messages, for operators; the stages note them, and it changes none",
    "api": "runs commands, which adhoc runs, too; no stanza comes to it",
    "health": "says whether the process turns, to systemd and over HTTP",
    "host_meta": "a file that names the web addresses",
    "muc_metrics": "counts rooms",
    "muc_reach": "a statement by which commands find an account",
    "muc_recording": "stores what rooms say; requests for it are those of muc-archive",
    "status": "a command that shows the state of the node",
    "metrics": "shows what others count",
    "lifecycle": "commands that end or restart the node",
    "log": "levels of the log",
    "config-check": "compares the node file with that of other nodes",
    "cert-watch": "alarms of certificates that expire",
    "cert-show": "a command that shows certificates",
    "cert-check": "a command that judges certificates",
    "cert-commands": "commands that make and replace certificates",
    "cert-monitor": "mails about certificates that expire",
    "cert-ocsp": "questions about the server's certificates, outside of all streams",
    "cert-revoke": "questions about certificates of peers, while their streams are not read",
    "recheck": "ends streams of revoked certificates, whatever their features are",
    "mail": "mails to administrators",
    "tls": "settings of TLS, below all streams",
    "cert-trust": "commands and an alarm for the certificates that are trusted",
    "component-rights": "reads the settings of delegation and privilege, and tells components",
    "reload": "reads the node file again",
}
