"""ejabberd as a process of its own on loopback."""
import glob
import os
import shutil
import time

from harness.client import TIMEOUT
from harness.prosody import DNSMASQ, Partner

LIBRARIES = "/usr/lib/x86_64-linux-gnu"

CONFIG = """
hosts: [ {domain} ]
loglevel: debug
certfiles: [ "{certificate}", "{key}" ]
ca_file: "{authority}"
auth_method: mnesia
auth_password_format: {password_format}
registration_timeout: infinity
s2s_use_starttls: required
s2s_max_retry_delay: 1
s2s_protocol_options: [ {protocols} ]
listen:
  - {{ port: {c2s}, ip: "127.0.0.1", module: ejabberd_c2s, access: all }}
  - {{ port: {s2s}, ip: "127.0.0.1", module: ejabberd_s2s_in }}
  {listen}
modules:
  mod_caps: {{}}
  mod_disco: {{}}
  mod_muc: {{ host: "conference.{domain}" }}
  mod_ping: {{}}
  mod_pubsub: {{ plugins: [ flat, pep ] }}
  mod_roster: {{}}
  {more}
  mod_version: {{}}
"""
# It asks our name server for SRV records, but the system for addresses.
INETRC = """{{resolv_conf, ""}}.
{{nameserver, {{127,0,0,1}}, {dns}}}.
"""


class Ejabberd(Partner):
    """It serves one domain, with the users that are named; their password is "secret"."""

    host_of_others = "localhost"

    def __init__(self, folder, domain, ports, users, **options):
        folder = folder / "ejabberd"
        folder.mkdir()
        conf, names = folder / "ejabberd.yml", folder / "inetrc"
        fields = {"protocols": "no_sslv3", "more": "mod_s2s_dialback: {}", "listen": "",
                  "password_format": "plain", **options}
        conf.write_text(CONFIG.format(domain=domain, **ports, **fields))
        names.write_text(INETRC.format(**ports))
        register = "".join(f'_ = ejabberd_auth:try_register(<<"{user}">>, <<"{domain}">>, '
                           '<<"secret">>), ' for user in users)
        # No distribution: no epmd, and nothing that outlives the process.
        super().__init__(
            domain, ports, ["erl", "+sbwt", "none", "-mnesia", "dir", f'"{folder}/spool"',
                            "-noinput", "-s", "ejabberd",
                            "-eval", f'{register}io:format("users are there~n").'],
            folder / "out.log",
            {"HOME": str(folder), "EJABBERD_CONFIG_PATH": str(conf),
             "EJABBERD_LOG_PATH": str(folder / "ejabberd.log"), "ERL_LIBS": LIBRARIES,
             "ERL_CRASH_DUMP": str(folder / "crash.dump"), "ERL_INETRC": str(names)})

    def begin(self):
        """The users are there before clients come."""
        begun = self.log().count("users are there") if self.log_path.exists() else 0
        super().begin()
        deadline = time.monotonic() + TIMEOUT
        while self.log().count("users are there") == begun:
            if self.process.poll() is not None or time.monotonic() >= deadline:
                self.kill()  # nobody else knows it yet
                raise AssertionError(self.log())
            time.sleep(0.05)

    def again(self, evaluated):
        """Starts it again, with what it has stored, to evaluate that; ends it."""
        self.finish()
        before = self.log().count("users are there")
        self.command[-1] = f'{evaluated}, io:format("users are there~n").'
        self.begin()
        assert self.log().count("users are there") == before + 1
        self.finish()

    def export(self, folder):
        """Writes all users as XEP-0227."""
        self.again(f'ok = ejabberd_piefxis:export_server("{folder}")')

    def dump(self, path):
        """Writes all that it has stored, as `ejabberdctl dump` does."""
        self.again(f'{{ok, _}} = ejabberd_admin:dump_mnesia("{path}")')


def is_here():
    return (bool(glob.glob(f"{LIBRARIES}/ejabberd-*/ebin")) and shutil.which("erl") is not None
            and os.access(DNSMASQ, os.X_OK))
