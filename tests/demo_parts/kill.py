"""Kills a server in the middle of deliveries, and reads afterwards what it had acknowledged.

    kill.py send PORT NOTE COMMAND…   sends from eight connections, runs COMMAND in the middle of it
    kill.py read PORT NOTE            every acknowledged message is there, once, byte for byte
"""
import hashlib
import json
import poplib
import smtplib
import socket
import subprocess
import sys
import threading

CONNECTIONS = 8
ACKNOWLEDGED_MIN = 300
TO = "kept@example.org"


def body(name):
    """The text of a message: from 1 to 1,200 lines, made of its name alone."""
    seed = hashlib.sha256(name.encode()).hexdigest()
    return "\r\n".join(f"{n} {seed}" for n in range(1 + int(seed[:4], 16) % 1200)) + "\r\n"


def message(name):
    return f"From: a@example.com\r\nTo: {TO}\r\nSubject: {name}\r\n\r\n{body(name)}"


class Sender:
    def __init__(self, port):
        self.port = port
        self.lock = threading.Condition()
        self.started, self.acknowledged = [], []

    def send_until_it_breaks(self, thread):
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as smtp:
                for number in range(1_000_000):
                    name = f"{thread}-{number}"
                    with self.lock:
                        self.started.append(name)
                    smtp.sendmail("a@example.com", [TO], message(name).encode())
                    with self.lock:
                        self.acknowledged.append(name)
                        self.lock.notify()
        except (OSError, smtplib.SMTPException):
            pass


def half_a_message(port):
    """A connection whose message is under way and not finished."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=30)
    talk = peer.makefile("rwb")
    for line in [None, "HELO half", "MAIL FROM:<a@example.com>", f"RCPT TO:<{TO}>", "DATA"]:
        if line:
            talk.write(line.encode() + b"\r\n")
            talk.flush()
        talk.readline()
    talk.write(b"Subject: half\r\n\r\n" + b"half of it\r\n" * 10_000)
    talk.flush()
    return peer


def send(port, note, command):
    sender = Sender(port)
    half = half_a_message(port)
    threads = [threading.Thread(target=sender.send_until_it_breaks, args=(n,)) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    with sender.lock:
        if not sender.lock.wait_for(lambda: len(sender.acknowledged) >= ACKNOWLEDGED_MIN, timeout=120):
            sys.exit("kill.py: the server takes messages too slowly")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for thread in threads:
        thread.join()
    half.close()
    under_way = len(sender.started) - len(sender.acknowledged)
    if under_way == 0:
        sys.exit("kill.py: nothing was under way when the server was killed")
    with open(note, "w") as file:
        json.dump({"started": sender.started, "acknowledged": sender.acknowledged}, file)
    print(f"killed with {len(sender.acknowledged)} messages acknowledged and {under_way + 1} under way")


def read(port, note):
    with open(note) as file:
        noted = json.load(file)
    mailbox = poplib.POP3("127.0.0.1", port, timeout=60)
    mailbox.user(TO)
    mailbox.pass_("any")
    found = {}
    for number in range(1, mailbox.stat()[0] + 1):
        octets = b"\r\n".join(mailbox.retr(number)[1]) + b"\r\n"
        name = octets.split(b"\r\nSubject: ", 1)[1].split(b"\r\n", 1)[0].decode()
        if name in found:
            sys.exit(f"kill.py: message {name} is there twice")
        if not octets.endswith(b"\r\n" + message(name).encode()):
            sys.exit(f"kill.py: message {name} is not what was sent")
        found[name] = number
    mailbox.quit()
    lost = [name for name in noted["acknowledged"] if name not in found]
    if lost:
        sys.exit(f"kill.py: {len(lost)} messages were acknowledged and are lost, such as {lost[:3]}")
    strange = [name for name in found if name not in noted["started"]]
    if strange:
        sys.exit(f"kill.py: nobody sent the whole of {strange}")
    more = len(found) - len(noted["acknowledged"])
    print(f"all {len(noted['acknowledged'])} are there, byte for byte, and {more} whose answer was never heard")


if sys.argv[1] == "send":
    send(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
else:
    read(int(sys.argv[2]), sys.argv[3])
