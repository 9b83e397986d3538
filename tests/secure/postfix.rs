//! The recipe of `docs/lmtp.md`, with Postfix from Debian: mail for the world's one domain comes to
//! Postfix by SMTP, goes to Pillarbox by LMTP, and is read over TLS.
//!
//! Postfix starts as root, in a directory of its own, and listens on loopback.

use super::world::{ANN, BOB, PASSWORD, World};
use crate::support::DEADLINE;
use crate::support::programs::{needs, succeed};
use crate::support::wire::Smtp;
use std::fs::{create_dir, set_permissions, write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const SERVICES: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

/// A Postfix of its own. Dropping it stops it.
struct Postfix {
    dir: tempfile::TempDir,
    smtp: SocketAddr,
}

impl Postfix {
    /// The folder where Postfix keeps its queue and looks for sockets.
    fn queue(dir: &Path) -> PathBuf {
        dir.join("queue")
    }

    fn start(dir: tempfile::TempDir, transport: &str) -> Postfix {
        let path = dir.path().to_owned();
        // Postfix takes no port 0: one that was free a moment ago.
        let smtp = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
        let config = path.join("etc");
        create_dir(&config).expect("a folder");
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {queue}\ndata_directory = {data}\n\
             myhostname = gateway.example.org\nmydestination =\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nalias_maps =\nalias_database =\n\
             maillog_file = {log}\nmaillog_file_prefixes = {path}\n\
             virtual_mailbox_domains = example.org\nvirtual_transport = lmtp:{transport}\n",
            queue = Postfix::queue(&path).display(),
            data = path.join("data").display(),
            log = path.join("log").display(),
            path = path.display(),
        );
        write(config.join("main.cf"), main).expect("a file");
        let listener = format!("{smtp} inet n - n - - smtpd\n{SERVICES}");
        write(config.join("master.cf"), listener).expect("a file");
        let postfix = Postfix { dir, smtp };
        succeed("postfix start", &mut postfix.command("start"), Stdio::null());
        postfix
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new("/usr/sbin/postfix");
        command.arg("-c").arg(self.dir.path().join("etc")).arg(what);
        command
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.command("stop").output();
        if std::thread::panicking() {
            // The log is all there is to find out why.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), self.log().as_bytes());
        }
    }
}

/// The user that Postfix runs as, and its group.
fn postfix_ids() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").expect("the users");
    let line = users.lines().find(|line| line.starts_with("postfix:")).expect("Postfix has made its user");
    let mut numbers = line.split(':').skip(2).map(|number| number.parse().expect("a number"));
    (numbers.next().expect("a user"), numbers.next().expect("a group"))
}

/// Folders as Postfix wants them, and one for Pillarbox's socket as the recipe has it.
fn folders() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let uid = std::fs::metadata(dir.path()).expect("it exists").uid();
    assert_eq!(uid, 0, "Postfix starts as root only: run this test as root");
    let (user, group) = postfix_ids();
    set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("ours");
    for folder in ["queue", "data", "queue/pillarbox"] {
        create_dir(dir.path().join(folder)).expect("a folder");
    }
    chown(dir.path().join("data"), Some(user), Some(group)).expect("root may");
    let sockets = dir.path().join("queue/pillarbox");
    chown(&sockets, None, Some(group)).expect("root may");
    set_permissions(&sockets, PermissionsExt::from_mode(0o2750)).expect("ours");
    dir
}

/// One message to two recipients through Postfix, and one to nobody; read by POP3 over TLS.
fn hands_over(world: &World, postfix: &Postfix, way: &str) {
    let mut smtp = Smtp::open(postfix.smtp);
    smtp.envelope("sender@example.com", &[ANN, BOB, "nobody@example.org"]);
    let reply = smtp.data(b"Subject: by LMTP\r\n\r\n.handed over\r\n");
    assert_eq!(reply.code, 250, "{reply:?}");
    smtp.expect("QUIT", 221);
    let until = Instant::now() + DEADLINE;
    for account in [ANN, BOB] {
        let text = loop {
            let mut command = Command::new("curl");
            command.args(["-s", "--max-time", "60", "--cacert"]).arg(&world.ca);
            command.args([
                "-u",
                &format!("{account}:{PASSWORD}"),
                &format!("pop3s://{}/1", world.named("pop3s")),
            ]);
            let output = command.output().expect("curl");
            if output.status.success() {
                break String::from_utf8_lossy(&output.stdout).into_owned();
            }
            // Postfix tells nobody when it has delivered: the mailbox is asked until it has.
            assert!(Instant::now() < until, "{account} has no mail");
        };
        assert!(text.ends_with("\r\n\r\n.handed over\r\n"), "{text}");
        assert!(text.starts_with("Return-Path: <sender@example.com>\r\n"), "{text}");
        assert!(text.contains(&format!("Delivered-To: {account}\r\n")), "{text}");
        assert!(text.contains("with LMTP") && text.contains("gateway.example.org"), "{text}");
    }
    while !postfix.log().contains("to=<nobody@example.org>") {
        assert!(Instant::now() < until, "nobody is not refused");
        std::thread::yield_now();
    }
    let log = postfix.log();
    let line = log.lines().find(|line| line.contains("to=<nobody@example.org>")).expect("just seen");
    assert!(line.contains("550 5.1.1") && line.contains("status=bounced"), "{line}");
    let path = format!("{}/secure-postfix-{way}.txt", env!("CARGO_TARGET_TMPDIR"));
    write(path, log).expect("the log can be kept");
}

#[test]
fn postfix_hands_over_by_lmtp_over_a_unix_socket_and_over_tcp() {
    needs("curl", "curl");
    assert!(Path::new("/usr/sbin/postfix").exists(), "apt-get install postfix, or let tests/run do it");
    let dir = folders();
    let socket = Postfix::queue(dir.path()).join("pillarbox/lmtp");
    let listen = format!("127.0.0.1:0,unix:{}", socket.display());
    let settings =
        [("accounts.mode", "closed"), ("accounts.domains", "example.org"), ("listen.lmtp", &listen)];
    {
        let world = World::new(&settings);
        let mode = std::fs::metadata(&socket).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let postfix = Postfix::start(dir, "unix:pillarbox/lmtp");
        hands_over(&world, &postfix, "unix");
    }
    let settings =
        [("accounts.mode", "closed"), ("accounts.domains", "example.org"), ("listen.lmtp", "127.0.0.1:0")];
    let world = World::new(&settings);
    let postfix = Postfix::start(folders(), &format!("inet:{}", world.local("lmtp")));
    hands_over(&world, &postfix, "tcp");
}
