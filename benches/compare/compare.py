#!/usr/bin/env python3
"""Measures reverse proxies beside each other: same backend, same load, in interleaved rounds.

    benches/compare/run.sh                                 get1k, post4k; 3 rounds
    benches/compare/run.sh --scenarios all --rounds 5
    benches/compare/run.sh --proxies switchback,nginx --seconds 5

Needs nginx (a peer, and the backend of all), haproxy, wrk, h2load (nghttp2-client), openssl and perf
(linux-perf), all from apt. Envoy and Caddy are measured, too, where they are found in PATH, or named
by ENVOY and CADDY. Judge by ratios inside one run, and by instructions before time: on a machine
that others use, time moves by half and instructions by 3 %.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import kit

HERE = Path(__file__).resolve().parent
# What a proxy is started with; @NAME@ in its file of this folder is replaced.
PEERS = {
    "switchback": ("switchback.yaml", ["serve", "-c", "@CONFIG@"]),
    "nginx": ("nginx.conf", ["-p", "@FOLDER@", "-e", "@FOLDER@/error.log", "-c", "@CONFIG@"]),
    "haproxy": ("haproxy.cfg", ["-db", "-f", "@CONFIG@"]),
    "envoy": ("envoy.yaml", ["-c", "@CONFIG@", "--concurrency", "1", "--disable-hot-restart", "-l", "error"]),
    "caddy": ("caddy.json", ["run", "--config", "@CONFIG@"]),
}
PROXY_CPU, LOAD_CPU = (0, 1) if os.cpu_count() > 1 else (None, None)
# Path, connections, and what the costs are divided by: requests, or MiB that were read.
LOADS = {
    "get1k": ("/1k", 64, "request"),
    "post4k": ("/post", 64, "request"),
    "body64k": ("/64k", 16, "MiB"),
    "body10m": ("/10m", 4, "MiB"),
    "tls": ("/1k", 64, "request"),
    "handshake": ("/1k", 64, "handshake"),
    "h2": ("/1k", 8, "request"),
}
SCENARIOS = ["start", *LOADS]
COUNTED = ("switchback", "nginx", "haproxy")
ENV = {"GOMAXPROCS": "1"}
FIELDS = [f"-H{name}: {value}" for name, value in kit.MCP_HEADERS.items()]


def tls_wanted(scenario):
    return scenario in ("tls", "handshake", "h2")


def url(scenario, port, tls):
    path = LOADS[scenario][0]
    return f"https://localhost:{tls}{path}" if tls_wanted(scenario) else f"http://127.0.0.1:{port}{path}"


def find(name, switchback):
    if name == "switchback":
        return switchback
    return shutil.which(os.environ.get(name.upper(), name))


class Bench:
    """What all proxies of a run have in common: a backend, a certificate, a folder."""

    def __init__(self, folder, options, backends):
        self.folder, self.options, self.backends = folder, options, backends
        command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost"
        names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
        subprocess.run(["openssl", *command.split(), *names], check=True, capture_output=True)
        (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
        (folder / "post.body").write_text("y" * 4096)
        (folder / "post.lua").write_text('wrk.method = "POST"\nwrk.body = string.rep("y", 4096)\n')

    def prepare(self, name):
        """Writes what a proxy is started with; its command, its folder and its two ports."""
        config, arguments = PEERS[name]
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        folder.chmod(0o777)
        port, tls, admin = kit.free_ports(3)
        known = {"PORT": port, "TLSPORT": tls, "ADMINPORT": admin, "BACKEND": self.backends[0], "OTHER": self.backends[1],
                 "FOLDER": folder, "CONFIG": folder / config, "CERTS": self.folder}

        def fill(text):
            return re.sub("@([A-Z]+)@", lambda found: str(known[found[1]]), text)

        (folder / config).write_text(fill((HERE / config).read_text()))
        command = [find(name, self.options.switchback), *(fill(argument) for argument in arguments)]
        return command, folder, port, tls

    def measure(self, name, scenario):
        """One proxy, started for this, under one load as fast as it goes: figures by their names."""
        command, folder, port, tls = self.prepare(name)
        with kit.running(command, folder / "log", PROXY_CPU, ENV | {"HOME": str(folder)}) as process:
            ready = kit.answers(port, "/1k", 30, process, folder / "log")
            if scenario == "start":
                return {"MiB": kit.memory_kib(process.pid) / 1024, "ms to first answer": ready * 1000}
            seconds = self.options.seconds
            path, connections, unit = LOADS[scenario]
            script = ["-s", self.folder / "post.lua"] if scenario == "post4k" else []
            script += ["-HConnection: close"] if scenario == "handshake" else []
            wrk = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *FIELDS, *script, url(scenario, port, tls)]
            h2 = ["h2load", "-t1", "-c8", "-m16", f"-D{seconds}", *FIELDS, url(scenario, port, tls)]
            if tls_wanted(scenario):
                kit.handshakes(tls)
            out, cost = kit.perf_counts(process.pid, h2 if scenario == "h2" else wrk, LOAD_CPU)
        done, bad = kit.requests_of(out)
        if not done:
            kit.die(f"{name} answered nothing in {scenario}: {out}{(folder / 'log').read_text()[-1500:]}")
        count = kit.mib_of(out) if unit == "MiB" else done
        return {**{what: total / count for what, total in cost.items()}, "done/s": done / seconds, "failed": bad}

    def count(self, name, scenario):
        """User instructions, calls of malloc and system calls, by callgrind, which needs no counter."""
        requests, totals = (20 if scenario == "body10m" else 200 if scenario == "handshake" else 1000), []
        _, connections, unit = LOADS[scenario]
        for n in (requests // 5, requests // 5 + requests):
            command, folder, port, tls = self.prepare(name)
            clients = {"handshake": n, "h2": 8}.get(scenario, min(connections, 16))
            h2load = ["h2load", "-t1", f"-c{clients}", f"-n{n}", f"-m{16 if scenario == 'h2' else 1}", *FIELDS]
            h2load += [] if scenario == "h2" else ["--h1"]
            h2load += ["-d", self.folder / "post.body"] if scenario == "post4k" else []
            totals.append(kit.callgrind(command, folder, port, lambda: kit.load([*h2load, url(scenario, port, tls)])))
        one = kit.per_request(*totals, requests)
        per = {"body64k": 1 / 16, "body10m": 10}.get(scenario, 1)
        return {"kI user": one["instructions"] / 1000 / per, "mallocs": one["mallocs"] / per, "system calls": one["syscalls"] / per}


def table(title, samples, lead, base):
    """Medians of all rounds; the ratio is the median of each round's own ratio."""
    print(f"\n## {title}\n")
    heads = list(dict.fromkeys(head for runs in samples.values() for run in runs for head in run))
    print("| proxy | " + " | ".join(heads) + f" | {lead} / {base} |\n|---|" + "--:|" * (len(heads) + 1))
    for name, runs in samples.items():
        cells = [f"{statistics.median(run[head] for run in runs):,.1f}" for head in heads]
        ratios = [run[lead] / other[lead] for run, other in zip(runs, samples.get(base, []))]
        print(f"| {name} | " + " | ".join(cells) + f" | {f'{statistics.median(ratios):.2f}' if ratios else ''} |")


def report(scenario, samples, counts, base):
    if scenario == "start":
        return table("start", samples, "MiB", base)
    title = f"{scenario}, per {LOADS[scenario][2]}"
    table(title, samples, "kI" if kit.counters() else "CPU us", base)
    if counts:
        table(f"{title}, counted by callgrind", counts, "kI user", base)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--switchback", type=lambda path: Path(path).resolve(), help="the binary; default: profile dist")
    parser.add_argument("--scenarios", default="get1k,post4k", help="all, or some of " + ",".join(SCENARIOS))
    parser.add_argument("--proxies", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each load")
    parser.add_argument("--callgrind", action=argparse.BooleanOptionalAction, default=not kit.counters(),
                        help="count user instructions with valgrind, too; default: where perf has no counter")
    parser.add_argument("--base", default="nginx", help="the last column is the ratio to this one")
    options = parser.parse_args()
    options.switchback = options.switchback or kit.binary("dist")
    scenarios = SCENARIOS if options.scenarios == "all" else options.scenarios.split(",")
    names = [name for name in options.proxies.split(",") if find(name, options.switchback)]
    with kit.scratch() as folder, kit.nginx(folder, kit.free_ports(2), LOAD_CPU) as backends:
        bench = Bench(folder, options, backends)
        samples = {scenario: {name: [] for name in names} for scenario in scenarios}
        for turn in range(options.rounds):
            for scenario in scenarios:
                # Backwards every other time, so that no proxy always follows the same neighbour.
                for name in names if turn % 2 == 0 else reversed(names):
                    samples[scenario][name].append(bench.measure(name, scenario))
                    print("#", turn, scenario, name, samples[scenario][name][-1], file=sys.stderr, flush=True)
        counts = {}
        for scenario in scenarios if options.callgrind and shutil.which("valgrind") else []:
            counted = [name for name in names if name in COUNTED and scenario != "start"]
            counts[scenario] = {name: [bench.count(name, scenario)] for name in counted}
            print("# counted", scenario, counts[scenario], file=sys.stderr, flush=True)
    for scenario in scenarios:
        report(scenario, samples[scenario], counts.get(scenario), options.base)


main()
