"""Messages of users of one server to users of another, over one link with TLS."""
import json
import os
import subprocess

from servers import BUILD, Ejabberd, Muster, Prosody

KINDS = {"muster": Muster, "ejabberd": Ejabberd, "prosody": Prosody}
SENDS, TAKES = "send.example", "take.example"
USERS = 200


def load(pair, scenario, *options):
    """One run of xmppload with its first user at the first server, its second at the second, and so on."""
    done = subprocess.run(
        ["taskset", "-c", "1", "timeout", "120", str(BUILD / "xmppload"), scenario, "--json", "--users", str(USERS),
         "--target", ",".join(f"127.0.0.1:{server.port}" for server in pair), "--domains", f"{SENDS},{TAKES}",
         "--server-pid", ",".join(str(server.pid) for server in pair), *options],
        capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(done.stderr)
    if done.stderr:
        print(done.stderr, end="")
    return json.loads(done.stdout.splitlines()[-1])


def run(world, name, durable, seconds):
    """The figures of one kind of server: a dictionary, with `link`."""
    kind = KINDS[name]
    world.publish({})
    pair = [world.add(kind(world, "a", [SENDS], durable=durable)), world.add(kind(world, "b", [TAKES], durable=durable))]
    world.publish({SENDS: pair[0].s2s_port, TAKES: pair[1].s2s_port})
    if kind is not Prosody:
        load(pair, "register", "--inflight", "20")
    more = ["--sm", "--sm-r", "1"] if durable else []
    cache = world.folder / f"{name}-{durable}.scram"
    figures = load(pair, "chat", "--one-way", "--window", os.environ.get("WINDOW", "4"), "--warmup", "3", "--seconds",
                   str(seconds), "--drain", "20", "--scram-cache", str(cache), *more)
    figures["link"] = pair[1].link()
    figures["server"], figures["durable"] = name, durable
    world.stop()
    return figures


def row(figures, peer):
    """A row of the table; peer: the figures to compare with, or None."""
    def cell(field):
        text = f"{figures[field]:,.0f}"
        if peer and peer is not figures and peer.get(field):
            text += f" ({figures[field] / peer[field]:.1f} ×)"
        return text
    lost = "none" if figures["valid"] else (
        f"lost {figures.get('lost')}, twice {figures.get('dup')}, reordered {figures.get('reordered')}, "
        f"errors {figures.get('errors')}")
    if "srv0_deliveries_per_cpu_s" not in figures:
        return f"| {figures['server']} | – | – | – | – | – | {lost} | {figures['link']} |"
    return (f"| {figures['server']} | {cell('srv0_deliveries_per_cpu_s')} | {cell('srv1_deliveries_per_cpu_s')} | "
            f"{figures['deliveries_per_s']:,.0f} | {figures['lat_p50_us'] / 1000:.2f} | "
            f"{figures['lat_p99_us'] / 1000:.2f} | {lost} | {figures['link']} |")


def table(title, names, world, durable, seconds):
    found = []
    for name in names:
        try:
            found.append(run(world, name, durable, seconds))
        except SystemExit as why:  # a peer that fails does not take the others with it
            print(f"{name}: {why}")
            world.stop()
    peer = next((figures for figures in found if figures["server"] == "ejabberd" and figures["valid"]), None)
    print(f"\n| {title} | per CPU-second of the sender | of the receiver | per second | p50, ms | p99, ms | faults | "
          "link |\n|---|---:|---:|---:|---:|---:|---|---|")
    for figures in found:
        print(row(figures, peer))
    print(flush=True)
    return found
