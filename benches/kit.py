"""What the measurements in this folder share: scratch space, ports, processes, nginx as a backend."""

import contextlib
import functools
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MCP_HEADERS = {
    "user-agent": "bench/1",
    "accept": "application/json, text/event-stream",
    "accept-encoding": "identity",
    "mcp-protocol-version": "2025-06-18",
    "authorization": "Bearer " + "t" * 64,
}


# How aws-lc seeds its random numbers once a process, from noise: never as many instructions as last time.
SEEDING = ("jent_", "rol64", "xoshiro128")
OPENED = (
    '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},'
    '"serverInfo":{"name":"bench","version":"1"}}}'
)


def die(why):
    sys.exit(f"{Path(sys.argv[0]).parent.name}: {why}")


def target():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()


def binary(profile, name="switchback"):
    """What cargo built last with this profile; the gateway is another one where SWITCHBACK names it."""
    path = target() / profile / name
    if name == "switchback":
        path = Path(os.environ.get("SWITCHBACK", path))
    if not path.exists():
        die(f"no {path}; cargo build --profile {profile} --locked --bin {name}")
    return path.resolve()


def free_ports(count):
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


@contextlib.contextmanager
def scratch():
    folder = Path(tempfile.mkdtemp(prefix="switchback-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(command, log, cpu=None, env=None):
    """A process that is stopped, with whatever it began, when the block ends."""

    def prepare():
        os.setsid()
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    with open(log, "wb") as out:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            preexec_fn=prepare,
        )
    try:
        yield process
    finally:
        stop(process, Path(log))


def stop(process, log):
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        print(f"# {process.args[0]} had to be killed; see\n{log.read_text(errors='replace')}", file=sys.stderr)


def answers(port, path="/", seconds=60, process=None, log=None):
    """Waits until a GET brings a 200; the seconds that took."""
    begun = time.monotonic()
    request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode()
    while time.monotonic() - begun < seconds:
        if process is not None and process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as s:
            s.sendall(request)
            if b" 200" in s.recv(4096)[:13]:
                return time.monotonic() - begun
        time.sleep(0.002)
    die(f"nothing answered on {port}: {Path(log).read_text(errors='replace')[-2000:] if log else ''}")


def threads(pid):
    """Ids of all threads of a process and of those that it began."""
    found, todo = [], [pid]
    while todo:
        process = todo.pop()
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{process}/task"):
                found.append((process, int(thread)))
                children = Path(f"/proc/{process}/task/{thread}/children").read_text()
                todo += [int(child) for child in children.split()]
    return found


def cpu_ns(pid):
    """Time on a CPU, from the scheduler's own clock."""
    total = 0
    for process, thread in threads(pid):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{process}/task/{thread}/schedstat").read_text().split()[0])
    return total


def memory_kib(pid, kind="Pss"):
    """Memory of a process and of those that it began: its share of all, or what is `Anonymous`, which
    does not change when another process of the same program comes or goes."""
    total = 0
    for process in {process for process, _ in threads(pid)}:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith(f"{kind}:"):
                    total += int(line.split()[1])
    return total


@contextlib.contextmanager
def nginx(folder, ports, cpu=None, hosts=("127.0.0.1",)):
    """nginx as the backend: /1k, /64k and /10m are files, /post and /api answer 1 KiB, /mcp opens a session."""
    files = folder / "files"
    files.mkdir()
    for name, size in (("1k", 1024), ("64k", 64 * 1024), ("10m", 10 * 1024 * 1024)):
        (files / name).write_bytes(b"x" * size)
    for path in (folder, files):
        path.chmod(0o755)
    listens = "".join(f"listen {host}:{port} backlog=65535;\n" for host in hosts for port in ports)
    config = folder / "backend.conf"
    config.write_text(
        f"""daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid {folder}/backend.pid;
events {{ worker_connections 20000; multi_accept on; }}
http {{
  access_log off; default_type application/octet-stream; open_file_cache max=10; tcp_nodelay on;
  keepalive_timeout 1h; keepalive_requests 1000000000; client_body_temp_path {folder}/body;
  client_body_buffer_size 64k; server {{ {listens} root {files};
    location ~ ^/(post|api) {{ return 200 "{'x' * 1024}"; }}
    location /mcp {{ default_type application/json; add_header mcp-session-id $request_id;
      return 200 '{OPENED}'; }} }}
}}"""
    )
    command = ["nginx", "-p", folder, "-e", folder / "backend.log", "-c", config]
    with running(command, folder / "backend.out", cpu) as process:
        answers(ports[0], "/1k", 20, process, folder / "backend.out")
        yield ports


def handshakes(port):
    """A few connections by TLS: some libraries do lasting work at the first one."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", port), 10) as s, context.wrap_socket(s) as stream:
            stream.sendall(b"GET /1k HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            while stream.recv(4096):
                pass


def load(command, cpu=None):
    """Runs a load to its end; what it printed."""
    pinned = ["taskset", "-c", cpu] if cpu is not None else []
    run = subprocess.run([str(part) for part in [*pinned, *command]], capture_output=True, text=True, timeout=600)
    if run.returncode:
        die(f"{command[0]}: {run.stdout}{run.stderr}")
    return run.stdout


def perf_counts(pid, command, cpu=None):
    """Runs a load; what it printed, and what it cost the process: thousands of instructions where
    the machine can count them, and CPU time in microseconds."""
    counts = Path(tempfile.gettempdir()) / f"switchback-bench-{os.getpid()}.csv"
    pids = ",".join(str(process) for process in sorted({process for process, _ in threads(pid)}))
    perf = ["perf", "stat", "-x,", "-o", counts, "-e", "instructions:u,instructions:k", "-p", pids, "--"]
    before = cpu_ns(pid)
    out = load([*(perf if counters() else []), *command], cpu)
    found = {"CPU us": (cpu_ns(pid) - before) / 1000}
    if counters():
        cells = [line.split(",") for line in counts.read_text().splitlines() if line[:1].isdigit()]
        user, kernel = (int(count) / 1000 for count, *_ in cells)
        found |= {"kI user": user, "kI kernel": kernel, "kI": user + kernel}
        counts.unlink()
    return out, found


@functools.cache
def counters():
    """Whether perf counts instructions here; many virtual machines have no such counter."""
    if not shutil.which("perf"):
        return False
    probe = subprocess.run(["perf", "stat", "-x,", "-e", "instructions:u,instructions:k", "true"], capture_output=True, text=True)
    return "<not" not in probe.stderr and "instructions:k" in probe.stderr


def callgrind(command, folder, port, drive, path="/1k"):
    """Runs a program under callgrind while `drive` uses it; what each of its threads cost, in order."""
    for old in folder.glob("callgrind.out*"):
        old.unlink()
    valgrind = ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--trace-children=yes"]
    valgrind += ["--dump-line=no", "--collect-systime=yes", f"--callgrind-out-file={folder}/callgrind.out.%p"]
    log = folder / "callgrind.log"
    with running([*valgrind, *command], log) as process:
        answers(port, path, 120, process, log)
        drive()
    return [callgrind_totals(file) for file in sorted(folder.glob("callgrind.out*-*"))]


def callgrind_totals(file):
    """Instructions by object (the program, its libraries), calls of malloc, looks at the clock, which
    are system calls only under valgrind, and real system calls."""
    names, objects = {}, {}
    found = {"objects": objects, "mallocs": 0, "clocks": 0, "syscalls": 0}
    place, function, called, inclusive = "", "", "", False

    # A name is written out once, `(7) malloc`, and is `(7)` from then on.
    def name(kind, text):
        number, _, given = text.partition(" ")
        return names.setdefault((kind, number), given)

    for line in file.read_text().splitlines():
        if line.startswith("ob="):
            place = name("object", line[3:])
        elif line.startswith("cob="):
            name("object", line[4:])
        elif line.startswith("fn="):
            function = name("function", line[3:])
        elif line.startswith("cfn="):
            called = name("function", line[4:])
        elif line.startswith("calls="):
            found["mallocs"] += int(line[6:].split()[0]) if called == "malloc" else 0
            inclusive = True
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            if not inclusive and not function.startswith(SEEDING):
                _, instructions, *calls = line.split()
                objects[place] = objects.get(place, 0) + int(instructions)
                kind = "clocks" if function.startswith("clock_gettime") else "syscalls"
                found[kind] += int(calls[0]) if calls else 0
            inclusive = False
    return found


def per_request(few, many, requests):
    """What one request costs the thread that serves: the one whose system calls grew most between
    two runs. What starting and stopping costs falls out of their difference. The first run is to be
    short: each process has seeds of its own, and the shorter it is, the less do those of the first count."""
    few, many = max(zip(few, many), key=lambda pair: pair[1]["syscalls"] - pair[0]["syscalls"])
    objects = {name: (count - few["objects"].get(name, 0)) / requests for name, count in many["objects"].items()}
    rest = {kind: (many[kind] - few[kind]) / requests for kind in ("mallocs", "clocks", "syscalls")}
    return {"objects": objects, "instructions": sum(objects.values()), **rest}


def requests_of(out):
    """How many requests wrk or h2load finished, and how many failed."""
    load = re.search(r"requests: \d+ total, \d+ started, (\d+) done, \d+ succeeded, (\d+) failed", out)
    if load:
        return int(load[1]), int(load[2])
    done = re.search(r"(\d+) requests in", out)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    bad = sum(map(int, broken.groups())) if broken else 0
    return int(done[1]), bad + (int(refused[1]) if refused else 0)


def mib_of(out):
    """What wrk read."""
    size, unit = re.search(r", ([\d.]+)([KMG])B read", out).groups()
    return float(size) * {"K": 1 / 1024, "M": 1, "G": 1024}[unit]
