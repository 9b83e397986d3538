"""The machine: what has to be installed and built, and what it costs: processor, memory, disk."""

import atexit
import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGET = os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"))
TICK = os.sysconf("SC_CLK_TCK")
os.environ["PATH"] += ":/usr/sbin:/sbin"


class Trouble(Exception):
    """Something is not as it has to be; no figure may come of it."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def install(*pairs):
    """Installs Debian's packages for the programs that are missing; pairs of program or path, package."""
    missing = [package for program, package in pairs
               if not (os.path.exists(program) or shutil.which(program))]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise Trouble(f"not a Debian system: install these yourself: {' '.join(missing)}")
    root = [] if os.getuid() == 0 else ["sudo"]
    # Debian starts a server when it is installed; those here are private and started by us alone.
    policy, mine = "/usr/sbin/policy-rc.d", not os.path.exists("/usr/sbin/policy-rc.d")
    if mine:
        subprocess.run([*root, "sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' >{policy}; chmod +x {policy}"],
                       check=True)
    try:
        subprocess.run([*root, "apt-get", "update", "-q"], check=True, stdout=sys.stderr)
        subprocess.run([*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-q", "-y",
                        "--no-install-recommends", *missing], check=True, stdout=sys.stderr)
    finally:
        if mine:
            subprocess.run([*root, "rm", "-f", policy], check=False)


def build():
    """The release build and the load; their paths."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "pillarbox"], check=True, cwd=ROOT,
                   stdout=sys.stderr)
    load = os.path.join(TARGET, "versus-load")
    source = os.path.join(ROOT, "benches/load")
    newest = max(os.path.getmtime(os.path.join(source, name)) for name in os.listdir(source))
    if not os.path.exists(load) or os.path.getmtime(load) < newest:
        # It needs only the standard library: cargo would build the whole program a second time for it.
        subprocess.run(["rustc", "--edition", "2024", "-C", "opt-level=3", os.path.join(source, "main.rs"),
                        "-o", load], check=True, stdout=sys.stderr)
    return os.path.join(TARGET, "release/pillarbox"), load


def scratch(parent=None):
    """A directory on a real disk, removed at the end; everybody may pass through it."""
    parent = parent or "/var/tmp"
    kind = subprocess.run(["stat", "-f", "-c", "%T", parent], capture_output=True, text=True, check=True)
    if kind.stdout.strip() in ("tmpfs", "ramfs", "nfs"):
        raise Trouble(f"{parent} is on {kind.stdout.strip()}, where a sync means nothing: name another --dir")
    path = tempfile.mkdtemp(prefix="pillarbox-versus-", dir=parent)
    os.chmod(path, 0o755)
    GUARDIAN.tell(f"folder {path}")
    atexit.register(clear, path)
    return path


def clear(path):
    """Removes the scratch directory: some hundred thousand files of mail, which may take a while."""
    say(f"removing {path}")
    shutil.rmtree(path, ignore_errors=True)


class Guardian:
    """A process that outlives a kill of this script, ends the servers that it was told of, and removes
    their folder: Postfix and smtp-sink change their user, and no signal of the kernel reaches them then."""

    def __init__(self):
        self.pipe = None

    def begin(self):
        reading, self.pipe = os.pipe()
        if os.fork() == 0:
            os.close(self.pipe)
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            with os.fdopen(reading) as words:
                told = [line.split() for line in words]
            self.end(told)
            os._exit(0)
        os.close(reading)

    def tell(self, words):
        if self.pipe:
            os.write(self.pipe, f"{words}\n".encode())

    def tell_pid(self, pid):
        # The time of the start belongs to it: a number may be used again.
        self.tell(f"pid {pid} {_stat(pid)[19]}")

    @staticmethod
    def end(told):
        def living():
            pids = [(pid, start, _stat(pid)) for kind, pid, *start in told if kind == "pid"]
            return [pid for pid, start, now in pids if now and [now[19]] == start and now[0] != "Z"]

        for pid in living():
            os.kill(int(pid), signal.SIGTERM)
        until = time.monotonic() + 30
        while living() and time.monotonic() < until:
            time.sleep(0.05)
        for pid in living():
            os.kill(int(pid), signal.SIGKILL)
        for kind, path, *_ in told:
            if kind == "folder":
                shutil.rmtree(path, ignore_errors=True)
            elif kind == "group" and os.path.isdir(path):
                with contextlib.suppress(OSError):
                    os.rmdir(path)


GUARDIAN = Guardian()


def prepare():
    """Many open files, and an orderly end on SIGTERM, so that no server stays behind."""
    GUARDIAN.begin()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))


def _dies_with_us():
    # PR_SET_PDEATHSIG: also when this script is killed the servers are told to stop.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Account:
    """The processor time of a server's whole process tree, children that have ended included."""

    def __init__(self, name):
        self.group = None
        for parent, usage, scale in (("/sys/fs/cgroup/cpuacct", "cpuacct.usage", 1e-9),
                                     ("/sys/fs/cgroup", "cpu.stat", 1e-6)):
            group = f"{parent}/pillarbox-versus-{os.getpid()}-{name}"
            try:
                os.mkdir(group)
            except OSError:
                continue
            if os.path.exists(f"{group}/{usage}"):
                self.group, self.usage, self.scale = group, usage, scale
                GUARDIAN.tell(f"group {group}")
                atexit.register(self.remove)
                return
            os.rmdir(group)

    def remove(self):
        if self.group and os.path.isdir(self.group):
            with contextlib.suppress(OSError):
                os.rmdir(self.group)

    def enter(self):
        """Called in the child before the server begins."""
        _dies_with_us()
        if self.group:
            with open(f"{self.group}/cgroup.procs", "w") as procs:
                procs.write("0")

    def seconds(self, root):
        if self.group:
            with open(f"{self.group}/{self.usage}") as file:
                words = file.read().split()
            return int(words[words.index("usage_usec") + 1] if len(words) > 1 else words[0]) * self.scale
        total = 0
        for pid in tree(root):
            fields = _stat(pid)
            # A child that was waited for is in the last two of its parent.
            total += sum(int(field) for field in fields[11:15]) if fields else 0
        return total / TICK


def _stat(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def tree(root):
    """The process and all below it."""
    below = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(name)):
            below.setdefault(int(fields[1]), []).append(int(name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += below.get(pid, [])
    return found


def memory(pids):
    """PSS and RSS in KiB."""
    pss = rss = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                for line in file:
                    if line.startswith("Pss:"):
                        pss += int(line.split()[1])
                    elif line.startswith("Rss:"):
                        rss += int(line.split()[1])
        except OSError:
            continue
    return pss, rss


def sync_us(folder, tries=15):
    """The median of some fdatasyncs after appending 4 KiB, in microseconds."""
    path = os.path.join(folder, "probe")
    times = []
    with open(path, "wb", buffering=0) as file:
        for _ in range(tries):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    os.unlink(path)
    return statistics.median(times) * 1e6


def busy():
    """Seconds of processor time that all of the machine has used."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK


def ours():
    """Seconds of processor time of this script and of the children that it has waited for."""
    self, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return self.ru_utime + self.ru_stime + children.ru_utime + children.ru_stime


def allocated(path):
    """Octets on disk of all below a path."""
    total = os.lstat(path).st_blocks * 512
    if os.path.isdir(path):
        for parent, folders, files in os.walk(path):
            total += sum(os.lstat(os.path.join(parent, name)).st_blocks * 512 for name in folders + files)
    return total


def run(command, timeout=600):
    """Runs a tool to its end; its standard output."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                              preexec_fn=_dies_with_us)
    except subprocess.TimeoutExpired as expired:
        raise Trouble(f"{' '.join(command)}: not done in {timeout} s") from expired
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


class Load:
    """The load generators of benches/load."""

    def __init__(self, path):
        self.path = path

    def command(self, name, options):
        return [self.path, name, *(f"{key}={value}" for key, value in options.items())]

    def __call__(self, name, **options):
        return json.loads(run(self.command(name, options), timeout=3600))
