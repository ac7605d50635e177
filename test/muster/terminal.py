"""A program in a terminal, by tmux."""
import os
import subprocess

from muster.client import TIMEOUT, until


class Terminal:
    """A program in tmux: keys in, screen out."""

    def __init__(self, folder, command):
        self.socket = str(folder / "tmux.sock")
        home = folder / "home"
        home.mkdir()
        env = {**os.environ, "HOME": str(home), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8",
               "XDG_CONFIG_HOME": str(home / "config"), "XDG_DATA_HOME": str(home / "data")}
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "160", "-y", "50", command,
                   env=env)

    def _tmux(self, *args, env=None):
        return subprocess.run(["tmux", "-S", self.socket, *args], env=env, capture_output=True,
                              text=True, check=True, timeout=TIMEOUT).stdout

    def connect(self, name, port):
        """profanity, from its start to the end of its login."""
        self.expect("Profanity")
        self.enter(f"/connect {name}@localhost server 127.0.0.1 port {port} tls trust")
        self.expect("Enter password")
        self.enter("secret")
        self.expect("logged in successfully")

    def enter(self, text):
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def screen(self):
        return self._tmux("capture-pane", "-p")

    def expect(self, text):
        try:
            until(text, lambda: text in self.screen())
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.screen()}") from None

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True,
                       check=False, timeout=TIMEOUT)
