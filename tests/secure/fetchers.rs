//! Clients that fetch over TLS, with each way to log in that they have.

use super::world::{ANN, PASSWORD, World};
use crate::support::programs::{a_user_for_getmail, needs, succeed};
use crate::support::wire::Smtp;
use std::fs::{create_dir, read_dir, read_to_string, write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A server whose Ann has one message.
fn world() -> World {
    let world = World::closed();
    let mut smtp = Smtp::open(world.local("smtp"));
    let reply = smtp.deliver("sender@example.com", ANN, b"Subject: x\r\n\r\nfetched over TLS\r\n");
    assert_eq!(reply.code, 250, "{reply:?}");
    world
}

fn maildir(world: &World, name: &str) -> PathBuf {
    let path = world.path(name);
    create_dir(&path).expect("a folder");
    for inner in ["cur", "new", "tmp"] {
        create_dir(path.join(inner)).expect("a folder");
    }
    path
}

/// The one message in a folder.
fn only(folder: &Path, what: &str) {
    let files: Vec<_> = read_dir(folder).expect("a folder").flatten().collect();
    assert_eq!(files.len(), 1, "{what}");
    let text = read_to_string(files[0].path()).expect("a file");
    assert!(text.contains("fetched over TLS"), "{what}: {text}");
}

// proves: RFC 2595 §4
// proves: RFC 8314 §3.2
#[test]
fn curl_fetches_over_tls() {
    needs("curl", "curl");
    let world = world();
    for (listener, scheme) in [("pop3", "pop3"), ("pop3s", "pop3s")] {
        for auth in ["*", "PLAIN", "LOGIN"] {
            let mut command = Command::new("curl");
            command.args(["-sS", "--max-time", "60", "--ssl-reqd", "--cacert"]).arg(&world.ca);
            command.args(["-u", &format!("{ANN}:{PASSWORD}"), "--login-options", &format!("AUTH={auth}")]);
            command.arg(format!("{scheme}://{}/1", world.named(listener)));
            let what = format!("curl {scheme} {auth}");
            let text = succeed(&what, &mut command, Stdio::null()).stdout;
            assert!(String::from_utf8_lossy(&text).ends_with("\r\n\r\nfetched over TLS\r\n"), "{what}");
        }
    }
}

#[test]
fn mpop_fetches_over_tls() {
    needs("mpop", "mpop");
    let world = world();
    for (listener, starttls) in [("pop3", "on"), ("pop3s", "off")] {
        for auth in ["user", "plain", "login", "scram-sha-256"] {
            let what = format!("mpop-{listener}-{auth}");
            let folder = maildir(&world, &what);
            let mut command = Command::new("mpop");
            command.env("HOME", world.home.path());
            command.args(["--host=localhost", &format!("--port={}", world.port(listener)), "--tls=on"]);
            command.args([&format!("--tls-starttls={starttls}"), &format!("--auth={auth}")]);
            command.arg(format!("--tls-trust-file={}", world.ca.display()));
            command.arg(format!("--user={ANN}")).arg("--keep=on");
            command.arg(format!("--passwordeval=printf '%s\\n' '{PASSWORD}'"));
            command.arg(format!("--uidls-file={}", world.path(&format!("{what}.uidls")).display()));
            command.arg(format!("--delivery=maildir,{}", folder.display()));
            succeed(&what, &mut command, Stdio::null());
            only(&folder.join("new"), &what);
        }
    }
}

#[test]
fn fetchmail_fetches_over_tls() {
    needs("fetchmail", "fetchmail");
    let world = world();
    for (listener, ssl) in [("pop3s", "ssl sslproto 'TLS1.2+'"), ("pop3", "sslproto 'TLS1.2+'")] {
        let folder = world.path(&format!("fetchmail-{listener}"));
        create_dir(&folder).expect("a folder");
        let mda = world.path("mda");
        write(&mda, format!("#!/bin/sh\nexec cat > {}/message\n", folder.display())).expect("a script");
        let rc = world.path("fetchmailrc");
        let text = format!(
            "set no bouncemail\npoll localhost protocol POP3 port {} auth password:\n  \
             user '{ANN}' password '{PASSWORD}' {ssl} sslcertck sslcertfile '{}' keep\n  mda '/bin/sh {}'\n",
            world.port(listener),
            world.ca.display(),
            mda.display()
        );
        write(&rc, text).expect("a file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&rc, private).expect("our own file");
        let mut command = Command::new("fetchmail");
        command.env("HOME", world.home.path()).env("FETCHMAILHOME", world.home.path());
        command.args(["--nosyslog", "--nodetach", "--all", "-f"]).arg(&rc);
        succeed(&format!("fetchmail, {listener}"), &mut command, Stdio::null());
        only(&folder, listener);
    }
}

#[test]
fn getmail_fetches_over_tls() {
    needs("getmail", "getmail6");
    let world = world();
    let folder = maildir(&world, "getmail");
    let user = a_user_for_getmail(world.home.path(), &folder);
    let rc = world.path("getmailrc");
    let text = format!(
        "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = {}\nusername = {ANN}\n\
         password = {PASSWORD}\nca_certs = {}\n\
         [destination]\ntype = Maildir\npath = {}/\n{user}[options]\ndelete = false\nverbose = 0\n",
        world.port("pop3s"),
        world.ca.display(),
        folder.display()
    );
    write(&rc, text).expect("a file");
    let mut command = Command::new("getmail");
    command.env("HOME", world.home.path()).arg("--getmaildir").arg(world.home.path());
    command.env("LC_ALL", "C.UTF-8").arg("--rcfile").arg(&rc);
    succeed("getmail", &mut command, Stdio::null());
    only(&folder.join("new"), "getmail");
}

const POPLIB: &str = "
import poplib, ssl, sys
pop3, pop3s, ca, user, password = sys.argv[1:6]
context = ssl.create_default_context(cafile=ca)
def fetch(client):
    assert 'STLS' not in client.capa() and 'USER' in client.capa(), client.capa()
    client.user(user)
    client.pass_(password)
    assert b'fetched over TLS' in client.retr(1)[1]
    client.quit()
client = poplib.POP3('localhost', int(pop3))
client.user(user)
assert 'STLS' in client.capa(), client.capa()
client.stls(context)
fetch(client)
fetch(poplib.POP3_SSL('localhost', int(pop3s), context=context))
";

#[test]
fn pythons_poplib_fetches_over_tls() {
    needs("python3", "python3");
    let world = world();
    let mut command = Command::new("python3");
    command.args(["-c", POPLIB, &world.port("pop3").to_string(), &world.port("pop3s").to_string()]);
    command.arg(&world.ca).args([ANN, PASSWORD]);
    succeed("poplib", &mut command, Stdio::null());
}
