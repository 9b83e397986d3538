"""The servers that are compared, each private, on loopback, in a folder of its own."""

import atexit
import os
import pwd
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import machine
from machine import Trouble, run

DOMAIN = "bench.test"
PASSWORD = "a-secret-of-the-bench"
# As smtp-source makes them with -N: the number before the rest.
PATTERN = "{}u@" + DOMAIN
RECIPIENT = "u@" + DOMAIN
MESSAGE_OCTETS_MAX = 26 * 1024 * 1024
PATIENCE = 60


def users(accounts):
    """The names of all accounts: smtp-source -r leaves the number out for its last recipient."""
    return [RECIPIENT, *(PATTERN.format(number) for number in range(1, accounts + 1))]


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def greeting(place, timeout=PATIENCE):
    """Waits until the server greets; the first line."""
    end = time.monotonic() + timeout
    while True:
        try:
            if place.startswith("unix:"):
                client = socket.socket(socket.AF_UNIX)
                client.connect(place[5:])
            else:
                host, number = place.split(":")
                client = socket.create_connection((host, int(number)))
            with client:
                client.settimeout(timeout)
                words = client.recv(512)
                if words:
                    return words
        except OSError as error:
            if time.monotonic() > end:
                raise Trouble(f"{place} does not greet: {error}") from error
        time.sleep(0.0005)


class Server:
    """A server in processes of its own. `smtp`, `pop3`, `lmtp` are places; None where it has none."""

    name = title = ""
    smtp = pop3 = lmtp = None

    def __init__(self, folder):
        self.folder = os.path.join(folder, self.name)
        os.makedirs(self.folder, exist_ok=True)
        self.processes = []
        self.account = machine.Account(self.name)
        atexit.register(self.stop)

    def spawn(self, command, name):
        """Starts a process whose words go to a file."""
        log = open(os.path.join(self.folder, f"{name}.log"), "ab")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                   preexec_fn=self.account.enter, start_new_session=True)
        log.close()
        machine.GUARDIAN.tell_pid(process.pid)
        self.processes.append(process)

    def start(self):
        """Starts it and waits for every greeting."""
        self.launch()
        for place in (self.smtp, self.pop3, self.lmtp):
            if place:
                greeting(place)

    def stop(self):
        below = self.pids()
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []
        # What a master leaves behind would go on working in the next measurement.
        end = time.monotonic() + PATIENCE
        while any(os.path.exists(f"/proc/{pid}") for pid in below):
            if time.monotonic() > end:
                raise Trouble(f"{self.title}: processes that do not end: {below}")
            time.sleep(0.005)

    def restart(self):
        self.stop()
        self.start()

    def pids(self):
        return [pid for process in self.processes for pid in machine.tree(process.pid)]

    def cpu(self):
        return sum(self.account.seconds(process.pid) for process in
                   (self.processes[:1] if self.account.group else self.processes))

    def memory(self):
        return machine.memory(self.pids())

    def tail(self):
        """The last words of its logs, for whoever looks for a fault."""
        words = ""
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".log"):
                with open(os.path.join(self.folder, name), errors="replace") as file:
                    words += f"--- {self.name}/{name}\n" + "".join(file.readlines()[-12:])
        return words

    def settle(self):
        """Returns when everything that was accepted is stored."""

    def messages(self):
        """How many messages are in all mailboxes, read from the store itself."""
        return 0


class Sink(Server):
    """smtp-sink: takes everything and keeps nothing. The ceiling of the load."""

    name, title = "sink", "smtp-sink"

    def launch(self):
        self.smtp = f"127.0.0.1:{port()}"
        self.spawn(["smtp-sink", "-u", "nobody", self.smtp, "1024"], "sink")


class Pillarbox(Server):
    """The release build: closed mode, every default but the ports and the number of connections."""

    name, title = "pillarbox", "Pillarbox"

    def __init__(self, folder, program, accounts, mode="closed"):
        super().__init__(folder)
        self.program, self.accounts, self.mode = program, accounts, mode
        self.data = os.path.join(self.folder, "data")
        self.config = os.path.join(self.folder, "pillarbox.toml")

    def launch(self):
        first = not os.path.exists(self.config)
        self.smtp, self.pop3 = (f"127.0.0.1:{port()}" for _ in range(2))
        self.lmtp = f"unix:{self.folder}/lmtp"
        with open(self.config, "w") as file:
            file.write(f'hostname = "pillarbox.{DOMAIN}"\ndata_dir = "{self.data}"\n'
                       f'[listen]\nsmtp = ["{self.smtp}"]\npop3 = ["{self.pop3}"]\nlmtp = ["{self.lmtp}"]\n'
                       f'[accounts]\nmode = "{self.mode}"\ndomains = ["{DOMAIN}"]\n'
                       # Open mode throws mail away past 1 GiB, which is less than what is measured.
                       f'[retention]\ntotal_size = "off"\n'
                       f'[limits]\nmessage_size = "26 MiB"\nconnections = 8192\nconnections_per_ip = 8192\n')
        if first and self.mode == "closed":
            self.add_accounts()
        self.spawn([self.program, "--config", self.config, "serve"], "pillarbox")

    def add_accounts(self):
        machine.say(f"adding {self.accounts} accounts to Pillarbox, each with its own argon2 hash")

        def add(user):
            subprocess.run([self.program, "--config", self.config, "account", "add", user,
                            "--password-stdin"], input=PASSWORD, text=True, check=True,
                           stdout=subprocess.DEVNULL)

        first, *others = users(self.accounts)
        add(first)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(add, others))

    def messages(self):
        import sqlite3
        with sqlite3.connect(f"file:{self.data}/pillarbox.db?mode=ro", uri=True) as database:
            return database.execute("SELECT coalesce(sum(messages), 0) FROM mailbox").fetchone()[0]


class PostfixDovecot(Server):
    """Debian's Postfix, delivering by LMTP over a unix socket into Debian's Dovecot with Maildir."""

    name, title = "postfix", "Postfix + Dovecot"

    def __init__(self, folder, accounts):
        super().__init__(folder)
        self.accounts = accounts
        self.queue = f"{self.folder}/queue"
        self.mail = f"{self.folder}/mail"
        self.etc = f"{self.folder}/etc"
        if os.getuid() != 0:
            raise Trouble("Postfix and Dovecot start as root only: run this as root")

    def launch(self):
        if not os.path.exists(self.etc):
            self.smtp, self.pop3 = (f"127.0.0.1:{port()}" for _ in range(2))
            self.lmtp = f"unix:{self.queue}/private/dovecot-lmtp"
            self.write_dovecot()
            self.write_postfix()
        self.spawn(["dovecot", "-F", "-c", f"{self.folder}/dovecot.conf"], "dovecot-start")
        greeting(self.pop3)
        # As `postfix start-fg` does it, but without the script between us, which would outlive its master.
        master = run(["postconf", "-c", self.etc, "-h", "daemon_directory"]).strip() + "/master"
        self.spawn([master, "-c", self.etc, "-s"], "postfix-start")

    def write_postfix(self):
        user = pwd.getpwnam("postfix")
        for folder in (self.etc, self.queue, f"{self.queue}/private", f"{self.folder}/postfix-data"):
            os.makedirs(folder, exist_ok=True)
        for folder, mode in ((f"{self.folder}/postfix-data", 0o755), (f"{self.queue}/private", 0o700)):
            os.chown(folder, user.pw_uid, -1)
            os.chmod(folder, mode)
        with open(f"{self.etc}/users", "w") as file:
            file.writelines(f"{user} x\n" for user in users(self.accounts))
        with open(f"{self.etc}/main.cf", "w") as file:
            file.write(f"compatibility_level = 3.6\nqueue_directory = {self.queue}\n"
                       f"data_directory = {self.folder}/postfix-data\nmyhostname = postfix.{DOMAIN}\n"
                       "mydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n"
                       "mynetworks = 127.0.0.0/8\nalias_maps =\nalias_database =\nbiff = no\n"
                       f"append_dot_mydomain = no\nmessage_size_limit = {MESSAGE_OCTETS_MAX}\n"
                       f"virtual_mailbox_domains = {DOMAIN}\n"
                       f"virtual_mailbox_maps = hash:{self.etc}/users\n"
                       "virtual_mailbox_limit = 0\nmailbox_size_limit = 0\n"
                       "virtual_transport = lmtp:unix:private/dovecot-lmtp\n")
        with open("/usr/share/postfix/master.cf.dist") as file:
            lines = [line for line in file if not line.startswith("#")]
        # Debian's services, without chroot since that needs files of the system in the queue.
        services = "".join(line.replace(" y ", " n ", 1) if line[:1].strip() else line for line in lines)
        if not services.startswith("smtp "):
            raise Trouble("master.cf.dist does not begin with the listener")
        with open(f"{self.etc}/master.cf", "w") as file:
            file.write(f"{self.smtp} {services.split(None, 1)[1]}")
        run(["postmap", "-c", self.etc, f"hash:{self.etc}/users"])
        run(["postfix", "-c", self.etc, "check"])

    def write_dovecot(self):
        os.makedirs(self.mail, exist_ok=True)
        nobody = pwd.getpwnam("nobody")
        os.chown(self.mail, nobody.pw_uid, nobody.pw_gid)
        secret = run(["openssl", "passwd", "-6", PASSWORD]).strip()
        with open(f"{self.folder}/users", "w") as file:
            file.writelines(f"{user}:{{SHA512-CRYPT}}{secret}\n" for user in users(self.accounts))
        os.chmod(f"{self.folder}/users", 0o644)
        number = self.pop3.split(":")[1]
        with open(f"{self.folder}/dovecot.conf", "w") as file:
            file.write(f"""\
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.folder}/dovecot.log
instance_name = versus
protocols = pop3 lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
pop3_uidl_format = %08Xu%08Xv
auth_mechanisms = plain login
passdb {{
  driver = passwd-file
  args = scheme=SHA512-CRYPT username_format=%u {self.folder}/users
}}
userdb {{
  driver = static
  args = uid={nobody.pw_uid} gid={nobody.pw_gid} home={self.mail}/%u
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {number}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  unix_listener {self.queue}/private/dovecot-lmtp {{
    mode = 0600
    user = postfix
  }}
}}
""")

    def queued(self):
        """Files in the queue; mail that was put off is a fault, since then nothing is measured."""
        count = 0
        for name in ("incoming", "active", "maildrop", "deferred"):
            for _, _, files in os.walk(f"{self.queue}/{name}"):
                if files and name == "deferred":
                    raise Trouble(f"Postfix has put off {len(files)} messages or more")
                count += len(files)
        return count

    def settle(self):
        end = time.monotonic() + 600
        while self.queued():
            if time.monotonic() > end:
                raise Trouble("the queue of Postfix does not empty")
            time.sleep(0.003)

    def maildir(self, number):
        return f"{self.mail}/{PATTERN.format(number)}/Maildir"

    def messages(self):
        count = 0
        for user in os.listdir(self.mail):
            for name in ("new", "cur"):
                try:
                    count += len(os.listdir(f"{self.mail}/{user}/Maildir/{name}"))
                except FileNotFoundError:
                    continue
        return count
