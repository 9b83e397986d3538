//! Clients that send over TLS with a login.

use super::world::{ANN, BOB, PASSWORD, World};
use crate::support::programs::{needs, succeed};
use std::fs::File;
use std::process::{Command, Stdio};

const MESSAGE: &str = "From: ann@example.org\r\nTo: bob@example.org\r\nSubject: secret\r\n\
                       Date: Tue, 24 Nov 2026 13:00:00 +0000\r\nMessage-ID: <s@example.org>\r\n\r\n\
                       over TLS\r\n";

/// Each way to send, once: after it Bob has one message more, and how it came is told in its trace.
fn check(world: &World, sent: &mut usize, what: &str) {
    *sent += 1;
    let messages = world.mailbox(BOB);
    assert_eq!(messages.len(), *sent, "{what}");
    let last = &messages[*sent - 1];
    assert!(last.contains("\r\n\r\nover TLS\r\n"), "{what}: {last}");
    assert!(last.contains(&format!("Return-Path: <{ANN}>\r\n")), "{what}: {last}");
    assert!(last.contains("with ESMTPSA"), "{what}: {last}");
}

// proves: RFC 8314 §3.2
#[test]
fn swaks_logs_in_over_tls() {
    needs("swaks", "swaks");
    let world = World::closed();
    let data = world.path("message");
    // swaks ends what has no dot at its end with one more line end.
    std::fs::write(&data, format!("{MESSAGE}.\r\n")).expect("a file");
    let mut sent = 0;
    for (listener, tls) in [("submission", "-tls"), ("submissions", "-tlsc")] {
        for auth in ["PLAIN", "LOGIN"] {
            let mut command = Command::new("swaks");
            command.args(["--server", "localhost", "--port", &world.port(listener).to_string(), tls]);
            command.args(["--tls-verify", "--tls-ca-path"]).arg(&world.ca);
            command.args(["--auth", auth, "--auth-user", ANN, "--auth-password", PASSWORD]);
            command.args(["--helo", "client.example", "--from", ANN, "--to", BOB, "--silent", "2"]);
            command.arg("--data").arg(format!("@{}", data.display()));
            let what = format!("swaks {tls} {auth}");
            succeed(&what, &mut command, Stdio::null());
            check(&world, &mut sent, &what);
        }
    }
}

#[test]
fn curl_logs_in_over_tls() {
    needs("curl", "curl");
    let world = World::closed();
    let file = world.path("message");
    std::fs::write(&file, MESSAGE).expect("a file");
    let mut sent = 0;
    for (listener, scheme) in [("submission", "smtp"), ("submissions", "smtps")] {
        for auth in ["PLAIN", "LOGIN"] {
            let mut command = Command::new("curl");
            command.args(["-sS", "--max-time", "60", "--ssl-reqd", "--cacert"]).arg(&world.ca);
            command.args(["-u", &format!("{ANN}:{PASSWORD}"), "--login-options", &format!("AUTH={auth}")]);
            command.args(["--mail-from", ANN, "--mail-rcpt", BOB, "--upload-file"]).arg(&file);
            command.arg(format!("{scheme}://{}/client.example", world.named(listener)));
            let what = format!("curl {scheme} {auth}");
            succeed(&what, &mut command, Stdio::null());
            check(&world, &mut sent, &what);
        }
    }
}

#[test]
fn msmtp_logs_in_over_tls() {
    needs("msmtp", "msmtp");
    let world = World::closed();
    let file = world.path("message");
    std::fs::write(&file, MESSAGE).expect("a file");
    let mut sent = 0;
    for (listener, starttls) in [("submission", "on"), ("submissions", "off")] {
        for auth in ["plain", "login", "scram-sha-256"] {
            let mut command = Command::new("msmtp");
            command.env("HOME", world.home.path());
            command.args(["--host=localhost", &format!("--port={}", world.port(listener))]);
            command.args(["--tls=on", &format!("--tls-starttls={starttls}")]);
            command.arg(format!("--tls-trust-file={}", world.ca.display()));
            command.args([&format!("--auth={auth}"), &format!("--user={ANN}")]);
            command.arg(format!("--passwordeval=printf '%s\\n' '{PASSWORD}'"));
            command.args([&format!("--from={ANN}"), "--domain=client.example", "--", BOB]);
            let what = format!("msmtp, STARTTLS {starttls}, {auth}");
            succeed(&what, &mut command, File::open(&file).expect("the message").into());
            check(&world, &mut sent, &what);
        }
    }
}

const SMTPLIB: &str = "
import smtplib, ssl, sys
submission, submissions, ca, user, password, to, message = sys.argv[1:8]
context = ssl.create_default_context(cafile=ca)
message = open(message, 'rb').read()
def send(smtp):
    smtp.login(user, password)
    smtp.sendmail(user, to, message)
    smtp.quit()
smtp = smtplib.SMTP('localhost', int(submission))
smtp.starttls(context=context)
send(smtp)
send(smtplib.SMTP_SSL('localhost', int(submissions), context=context))
";

#[test]
fn pythons_smtplib_logs_in_over_tls() {
    needs("python3", "python3");
    // smtplib sends passwords in ASCII alone.
    let world = World::closed();
    world.home.succeed(&["account", "password", ANN, "--password-stdin"], "plain");
    let file = world.path("message");
    std::fs::write(&file, MESSAGE).expect("a file");
    let mut command = Command::new("python3");
    command.args(["-c", SMTPLIB, &world.port("submission").to_string()]);
    command.arg(world.port("submissions").to_string()).arg(&world.ca);
    command.args([ANN, "plain", BOB]).arg(&file);
    succeed("smtplib", &mut command, Stdio::null());
    assert_eq!(world.mailbox(BOB).len(), 2);
}
