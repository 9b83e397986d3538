"""The rows of the table: which work, on which servers, with which goal."""

import glob
import os
import threading
import time
from dataclasses import dataclass, field

import machine
from machine import Trouble
from servers import PASSWORD, PATTERN, RECIPIENT, DOMAIN

KIB, MIB = 1024, 1024 * 1024
BOTH, ALL = ("pillarbox", "postfix"), ("pillarbox", "postfix", "sink")
ALONE = ("pillarbox",)


@dataclass
class Row:
    """One line of the table. Goals: times Postfix + Dovecot, part of smtp-sink, at most so much."""
    id: str
    title: str
    unit: str
    times: float = None
    of_sink: float = None
    at_most: float = None
    more_is_better: bool = True


@dataclass
class Group:
    """Rows that one piece of work gives; it returns a value for each row's id."""
    rows: list
    peers: tuple
    work: callable
    is_once: bool = False


@dataclass
class Work:
    """What a group's work is given: the server, and how much is to be done."""
    bench: object
    server: object
    notes: dict = field(default_factory=dict)

    def much(self, full, quick, lead=1):
        """How many: fewer in a quick run, more for servers that would be done in an instant."""
        many = quick if self.bench.quick else full
        return many if self.server.name == "postfix" else many * lead

    def account(self, place):
        """Accounts that smtp-source never writes to: 0 to 4 one mailbox each, 10 to 19 readers, 20 to 59
        logins, 40 to 49 disk, 50 to 53 without mail."""
        return self.bench.senders_max + 1 + place

    def user(self, place):
        return PATTERN.format(self.account(place))

    def clock(self):
        return Clock(self)


class Clock:
    """Around the work that is measured: time, processor time of the server, share of others."""

    def __init__(self, work):
        self.work = work

    def __enter__(self):
        work = self.work
        work.notes["sync_us"] = round(machine.sync_us(work.server.folder))
        self.busy, self.ours, self.cpu = machine.busy(), machine.ours(), work.server.cpu()
        self.began = time.perf_counter()
        return self

    def lap(self):
        return time.perf_counter() - self.began

    def __exit__(self, *_):
        self.seconds, notes = self.lap(), self.work.notes
        self.cpu = self.work.server.cpu() - self.cpu
        others = machine.busy() - self.busy - self.cpu - (machine.ours() - self.ours)
        notes["others"] = round(max(0.0, others / (self.seconds * os.cpu_count())), 2)
        notes["cpu_ms"] = round(self.cpu * 1e3, 2)
        pss, rss = self.work.server.memory()
        notes["pss_mib"], notes["rss_mib"] = round(pss / KIB, 1), round(rss / KIB, 1)


def source(work, messages, octets, sessions, *options):
    """smtp-source, as often as it needs to write to each mailbox once a time."""
    most = work.bench.senders_max
    while messages > 0:
        part = min(messages, most)
        machine.run(["smtp-source", *options, "-s", str(min(sessions, part)), "-m", str(part), "-l",
                     str(octets), "-f", f"load@{DOMAIN}", "-t", RECIPIENT, work.server.smtp])
        messages -= part


def in_mailbox(work, number):
    done = work.bench.load("pop3", to=work.server.pop3, user=PATTERN.format(number), password=PASSWORD,
                           steps="stat")
    return done["messages"]


def smtp(octets, sessions, full, quick, lead, *options, copies=1, with_cpu=False):
    """Mail by smtp-source; accepted at the last 250, stored when the queue is empty and STAT shows it."""
    kib = f"{octets // MIB}m" if octets >= MIB else f"{octets // KIB}k"
    tail = f"{kib}-{sessions}" + ("-kept" if "-d" in options else "")

    def work(work):
        server, messages = work.server, work.much(full, quick, lead)
        messages = max(messages, sessions)
        is_sink = server.name == "sink"
        before = (0, 0) if is_sink else (server.messages(), in_mailbox(work, 2))
        with work.clock() as clock:
            source(work, messages, octets, sessions, *options)
            accepted = clock.lap()
            server.settle()
            stored = clock.lap()
        if not is_sink:
            # The count of the store, and what a client is told at its first look.
            came = server.messages() - before[0]
            if came != messages * copies:
                raise Trouble(f"{server.title}: {came} messages came of {messages * copies}")
            # A part that is smaller than the number of mailboxes reaches the first ones, so the second too.
            each = messages if copies > 1 else -(-messages // work.bench.senders_max)
            if in_mailbox(work, 2) - before[1] != each:
                raise Trouble(f"{server.title}: STAT does not show what was accepted")
        work.notes["messages"] = messages
        values = {f"accepted-{tail}": messages * copies / accepted}
        if not is_sink:
            values |= {f"stored-{tail}": messages * copies / stored,
                       f"cpu-{tail}": clock.cpu * 1e3 / (messages * copies)}
        else:
            values |= {f"stored-{tail}": messages * copies / stored,
                       f"cpu-{tail}": clock.cpu * 1e3 / messages}
        return values if copies == 1 else {"many-50": values[f"stored-{tail}"]}

    return work


def lmtp(work):
    messages = work.much(2000, 300, 3)
    before = work.server.messages()
    with work.clock() as clock:
        done = work.bench.load("send", to=work.server.lmtp, protocol="lmtp", sessions=10, messages=messages,
                               octets=KIB, mailbox=PATTERN, mailboxes=work.bench.senders_max)
    if work.server.messages() - before != messages:
        raise Trouble(f"{work.server.title}: not all of LMTP is there")
    work.notes["messages"] = messages
    work.notes["p99_ms"] = done["p99_ms"]
    return {"lmtp-1k-10": messages / done["seconds"], "lmtp-cpu": clock.cpu * 1e3 / messages}


def by_line(work):
    """A sender that writes line by line and waits for each to be confirmed."""
    messages = work.much(60, 20, 5)
    before = work.server.messages()
    with work.clock():
        done = work.bench.load("send", to=work.server.smtp, sessions=1, messages=messages, octets=KIB,
                               mailbox=PATTERN, mailboxes=work.bench.senders_max, pieces="lines")
        work.server.settle()
    if work.server.messages() - before != messages:
        raise Trouble(f"{work.server.title}: not all that came line by line is there")
    work.notes["messages"] = messages
    return {"accepted-1k-lines": messages / done["seconds"]}


def fill(work, place, messages, octets, sessions=10, mailboxes=1):
    """Messages into mailboxes, straight by LMTP."""
    work.bench.load("send", to=work.server.lmtp, protocol="lmtp", sessions=sessions, messages=messages,
                    octets=octets, mailbox=PATTERN, first=work.account(place), mailboxes=mailboxes)


def filled(work, place, messages, octets, mailboxes=1):
    """The same, but only once in a run."""
    key = (work.server.name, place)
    if key not in work.bench.filled:
        machine.say(f"    filling {mailboxes} mailboxes with {messages} messages of {octets} octets "
                    f"in {work.server.title}")
        fill(work, place, messages * mailboxes, octets, 10, mailboxes)
        work.bench.filled.add(key)
        return True
    return False


def session(work, place, steps, messages):
    return work.bench.load("pop3", to=work.server.pop3, user=work.user(place), password=PASSWORD,
                           steps=steps, messages=messages)


def logins(work):
    each = work.much(20, 5, 5)
    work.bench.load("logins", to=work.server.pop3, mailbox=PATTERN, password=PASSWORD, sessions=10, each=1,
                    first=work.account(20))
    with work.clock():
        done = work.bench.load("logins", to=work.server.pop3, mailbox=PATTERN, password=PASSWORD,
                               sessions=10, each=each, first=work.account(20))
    return {"login-10": done["logins"] / done["seconds"]}


def first_logins(work):
    """Nothing remembered: another account each time, the server just started."""
    work.server.restart()
    with work.clock():
        done = work.bench.load("logins", to=work.server.pop3, mailbox=PATTERN, password=PASSWORD,
                               sessions=10, each=4, first=work.account(20), fresh=1)
    return {"login-first": done["logins"] / done["seconds"]}


def entering(work, places):
    """Milliseconds of connect and login into mailboxes without mail, the least of some: what is above it
    is the mailbox, or the neighbours on the machine."""
    return min(session(work, place, "list", 0)["login_ms"] for place in places)


def listed(done, empty):
    """What STAT + LIST + UIDL take, and the same with what PASS takes more than for a mailbox without
    mail, since a server may read its listing there or here."""
    alone = sorted(run["list_ms"] for run in done)[len(done) // 2]
    opening = max(0.0, min(run["login_ms"] for run in done) - empty)
    return alone, alone + opening


def list_thousand(work):
    filled(work, 0, 1000, KIB)
    session(work, 0, "list", 1000)
    with work.clock():
        # In turn, so that both see the same neighbours.
        pairs = [(entering(work, [50]), session(work, 0, "list", 1000)) for _ in range(11)]
    alone, whole = listed([run for _, run in pairs], min(empty for empty, _ in pairs))
    return {"list-1000": alone, "open-list-1000": whole}


def list_many(work):
    many = 5000 if work.bench.quick else 100_000
    if work.server.name == "postfix":
        unread(work.server.maildir(work.account(4)), written(work, 4, many))
    else:
        filled(work, 4, many, KIB)
    work.server.restart()
    # Nobody has logged in yet: the password is checked in full, for the mailboxes without mail too.
    fresh = entering(work, (51, 52, 53))
    with work.clock():
        first = [session(work, 4, "list", many)]
        later = [session(work, 4, "list", many) for _ in range(5)]
    empty = entering(work, (51, 52, 53) * 2)
    work.notes["messages"] = many
    first, later = listed(first, fresh), listed(later, empty)
    return {"list-100000-first": first[0], "open-list-100000-first": first[1],
            "list-100000-later": later[0], "open-list-100000-later": later[1]}


def written(work, place, messages):
    """A Maildir of copies of one message that LMTP delivered, with the names that it gives, sizes included.
    Delivering them all would take longer with each, since Dovecot looks at the whole folder every time."""
    key = (work.server.name, place)
    if key not in work.bench.filled:
        machine.say(f"    writing {messages} messages into a Maildir")
        fill(work, place, 1, KIB)
        folder = f"{work.server.maildir(work.account(place))}/new"
        name, = os.listdir(folder)
        with open(f"{folder}/{name}", "rb") as file:
            message = file.read()
        owner = os.stat(f"{folder}/{name}")
        began, sizes = int(time.time()), name[name.index(",S="):]
        for number in range(1, messages):
            path = f"{folder}/{began + number // 1000}.M{number % 1000}P{os.getpid()}.copies{sizes}"
            with open(path, "wb") as file:
                file.write(message)
            os.chown(path, owner.st_uid, owner.st_gid)
        os.sync()
        work.bench.filled.add(key)
    return messages


def unread(folder, messages):
    """The Maildir as deliveries leave it, before anybody has looked into it."""
    for name in os.listdir(f"{folder}/cur"):
        os.rename(f"{folder}/cur/{name}", f"{folder}/new/{name.partition(':')[0]}")
    for path in glob.glob(f"{folder}/dovecot*"):
        os.unlink(path)
    if len(os.listdir(f"{folder}/new")) != messages:
        raise Trouble(f"{folder} has not {messages} messages")


def retr(place, messages, octets, steps, ids):
    def work(work):
        filled(work, place, messages, octets)
        session(work, place, ",".join(steps), messages)
        with work.clock():
            done = [session(work, place, ",".join(steps), messages) for _ in range(3)]
        return {id: messages / sorted(run[f"{step}_ms"] for run in done)[1] * 1e3
                for step, id in zip(steps, ids)}

    return work


def readers(work):
    filled(work, 10, 200, 10 * KIB, 10)
    with work.clock():
        done = work.bench.load("readers", to=work.server.pop3, mailbox=PATTERN, password=PASSWORD,
                               sessions=10, each=work.much(5, 2), messages=200, first=work.account(10))
    return {"retr-10k-10": done["messages"] / done["seconds"]}


def delete(work):
    fill(work, 3, 1000, KIB)
    with work.clock():
        done = session(work, 3, "delete", 1000)
    if in_mailbox(work, work.account(3)) != 0:
        raise Trouble(f"{work.server.title}: deleted messages are there")
    return {"dele-1000": 1000 / done["delete_ms"] * 1e3}


def disk(work):
    """Octets on disk for each of many 1 KiB messages, the server at rest."""
    messages = 1000 if work.bench.quick else 10_000
    if work.server.name == "postfix":
        folder, server = work.server.mail, work.server
    else:
        server = work.bench.open_pillarbox()
        server.restart()
        folder, work = server.data, Work(work.bench, server, work.notes)
    server.restart()
    before, was = machine.allocated(folder), server.messages()
    with work.clock():
        fill(work, 40, messages, KIB, 10, 10)
    server.stop()
    if server.messages() - was != messages:
        raise Trouble("not all is there")
    value = (machine.allocated(folder) - before) / messages
    if server is work.bench.servers.get("postfix"):
        server.start()
    return {"disk-1k": value}


def small(state, id, protocol):
    """Memory of a session that waits, in open mode: no password hash has to be made for thousands."""

    def work(work):
        server = work.bench.open_pillarbox()
        server.restart()
        sessions = 500 if work.bench.quick else 4096
        rest = server.memory()[0]
        work.notes["sync_us"] = round(machine.sync_us(server.folder))
        options = {"to": getattr(server, protocol), "state": state, "sessions": sessions,
                   "mailbox": PATTERN, "password": PASSWORD}
        with work.bench.held(options) as held:
            if held != sessions:
                raise Trouble(f"{held} of {sessions} sessions are held")
            # What the last greeting needed is given back within moments.
            time.sleep(0.5)
            value = (server.memory()[0] - rest) / sessions
        return {id: value}

    return work


def peak(work):
    server = work.bench.open_pillarbox()
    server.restart()
    sessions = 20 if work.bench.quick else 100
    rest = server.memory()[0]
    work.notes["sync_us"] = round(machine.sync_us(server.folder))
    work = Work(work.bench, server, work.notes)
    seen, is_over = [rest], threading.Event()

    def watch():
        while not is_over.wait(0.01):
            seen.append(server.memory()[0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        source(work, sessions, 10 * MIB, sessions, "-N")
    finally:
        is_over.set()
        watcher.join()
    if len(seen) < 10:
        raise Trouble("too few looks at the memory")
    return {"peak-100": (max(seen) - rest) / KIB}


def rest(work):
    server = work.bench.open_pillarbox() if work.server.name == "pillarbox" else work.server
    server.restart()
    # What the start has found to do, retention among it, is done by then.
    time.sleep(3)
    pss, rss = server.memory()
    work.notes["rss_mib"] = round(rss / KIB, 1)
    return {"rest": pss / KIB}


def start(work):
    server = work.bench.open_pillarbox()
    server.restart()
    server.stop()
    times = [work.bench.load("start", program=server.program, config=server.config, smtp=server.smtp,
                             pop3=server.pop3)["ms"] for _ in range(5)]
    work.notes["sync_us"] = round(machine.sync_us(server.folder))
    return {"start": sorted(times)[2]}


def rate(id, title, **goals):
    return Row(id, title, "/s", **goals)


def time_ms(id, title, **goals):
    return Row(id, title, "ms", more_is_better=False, **goals)


def groups():
    """All work, in the order in which it is done."""
    return [
        Group([rate("accepted-1k-1", "accepted 1 KiB, 1 session"),
               rate("stored-1k-1", "stored 1 KiB, 1 session", times=3),
               time_ms("cpu-1k-1", "CPU of a 1 KiB message, 1 session")],
              ALL, smtp(KIB, 1, 1000, 150, 2, "-N")),
        Group([rate("accepted-1k-10", "accepted 1 KiB, 10 sessions"),
               rate("stored-1k-10", "stored 1 KiB, 10 sessions", times=10, of_sink=0.5),
               time_ms("cpu-1k-10", "CPU of a 1 KiB message, 10 sessions", times=20)],
              ALL, smtp(KIB, 10, 1000, 200, 4, "-N")),
        Group([rate("accepted-1k-100", "accepted 1 KiB, 100 sessions"),
               rate("stored-1k-100", "stored 1 KiB, 100 sessions", times=12, of_sink=0.5),
               time_ms("cpu-1k-100", "CPU of a 1 KiB message, 100 sessions")],
              ALL, smtp(KIB, 100, 1000, 200, 4, "-N")),
        Group([rate("accepted-1k-10-kept", "accepted 1 KiB, 10 kept connections", times=5),
               rate("stored-1k-10-kept", "stored 1 KiB, 10 kept connections"),
               time_ms("cpu-1k-10-kept", "CPU of a 1 KiB message, 10 kept connections")],
              ALL, smtp(KIB, 10, 1000, 200, 4, "-N", "-d")),
        Group([rate("accepted-100k-10", "accepted 100 KiB, 10 sessions", times=2),
               rate("stored-100k-10", "stored 100 KiB, 10 sessions"),
               time_ms("cpu-100k-10", "CPU of a 100 KiB message, 10 sessions")],
              ALL, smtp(100 * KIB, 10, 600, 60, 2, "-N")),
        Group([rate("accepted-10m-4", "accepted 10 MiB, 4 sessions"),
               rate("stored-10m-4", "stored 10 MiB, 4 sessions", times=1.4),
               time_ms("cpu-10m-4", "CPU of a 10 MiB message, 4 sessions")],
              ALL, smtp(10 * MIB, 4, 24, 8, 1, "-N")),
        Group([rate("many-50", "one message to 50 mailboxes, stored (mailboxes)", times=20)],
              BOTH, smtp(KIB, 5, 60, 10, 4, "-r", "50", copies=50)),
        Group([rate("accepted-1k-lines", "accepted 1 KiB, 1 kept connection, line by line")],
              BOTH, by_line),
        Group([rate("lmtp-1k-10", "LMTP 1 KiB, 10 kept (Dovecot alone)", times=5),
               time_ms("lmtp-cpu", "CPU of an LMTP message")], BOTH, lmtp),
        Group([rate("login-10", "login + STAT + QUIT, 10 at once", times=5)], BOTH, logins),
        Group([rate("login-first", "the same, first login of each account")], BOTH, first_logins),
        Group([time_ms("list-1000", "STAT + LIST + UIDL of 1,000", times=10),
               time_ms("open-list-1000", "the same with the opening in PASS", times=10)],
              BOTH, list_thousand),
        Group([rate("retr-1k", "RETR 1,000 x 1 KiB, one at a time", times=1),
               rate("retr-1k-pipelined", "RETR 1,000 x 1 KiB, pipelined", times=1)], BOTH,
              retr(0, 1000, KIB, ("retr", "pipelined"), ("retr-1k", "retr-1k-pipelined"))),
        Group([rate("retr-10k", "RETR 1,000 x 10 KiB, one at a time", times=1.2)], BOTH,
              retr(1, 1000, 10 * KIB, ("retr",), ("retr-10k",))),
        Group([rate("retr-100k", "RETR 100 x 100 KiB, one at a time", times=1.5)], BOTH,
              retr(2, 100, 100 * KIB, ("retr",), ("retr-100k",))),
        Group([rate("retr-10k-10", "10 sessions at once, RETR 10 KiB", times=2.5)], BOTH, readers),
        Group([rate("dele-1000", "DELE all of 1,000 + QUIT", times=5)], BOTH, delete),
        Group([time_ms("list-100000-first", "STAT + LIST + UIDL of 100,000, first session", times=40),
               time_ms("open-list-100000-first", "the same with the opening in PASS", times=40),
               time_ms("list-100000-later", "STAT + LIST + UIDL of 100,000, later", times=4),
               time_ms("open-list-100000-later", "the same with the opening in PASS", times=4)],
              BOTH, list_many),
        Group([Row("disk-1k", "disk for a 1 KiB message", "bytes", at_most=1600, more_is_better=False)],
              BOTH, disk, is_once=True),
        *alone(),
    ]


def alone():
    """What is promised of Pillarbox's size, without a peer."""
    kib = {"unit": "KiB", "at_most": 16, "more_is_better": False}
    return [
        Group([Row("idle-smtp", "an idle session of 4,096, SMTP after EHLO", **kib)], ALONE,
              small("ehlo", "idle-smtp", "smtp")),
        Group([Row("idle-pop3", "an idle session of 4,096, POP3 before login", **kib)], ALONE,
              small("greeted", "idle-pop3", "pop3")),
        Group([Row("idle-pop3-in", "an idle session of 4,096, POP3 logged in", **kib)], ALONE,
              small("inside", "idle-pop3-in", "pop3")),
        Group([Row("peak-100", "100 sessions send 10 MiB each, above rest", "MiB", at_most=64,
                   more_is_better=False)], ALONE, peak),
        Group([Row("rest", "memory at rest (PSS)", "MiB", at_most=15, more_is_better=False)], BOTH, rest),
        Group([time_ms("start", "start to both greetings", at_most=20)], ALONE, start),
    ]
