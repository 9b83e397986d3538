//! Scanners that operators run against mail servers: nmap's scripts and testssl.sh.

use super::world::World;
use crate::support::programs::{needs, succeed};
use std::path::Path;
use std::process::{Command, Stdio};

fn keep(name: &str, text: &str) {
    let path = format!("{}/secure-{name}.txt", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(path, text).expect("what was found can be written");
}

/// Runs a script of nmap on a port, whatever nmap takes that port to be for.
fn nmap(script: &str, port: u16) -> String {
    needs("nmap", "nmap");
    let mut command = Command::new("nmap");
    command.args(["-Pn", "-n", "-p", &port.to_string(), "--script", &format!("+{script}"), "127.0.0.1"]);
    let output = succeed(script, &mut command, Stdio::null());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("| {script}:")) || text.contains(&format!("|_{script}:")), "{text}");
    text
}

#[test]
fn nmap_finds_no_open_relay() {
    let world = World::closed();
    let mut all = String::new();
    for listener in ["smtp", "submission"] {
        let found = nmap("smtp-open-relay", world.port(listener));
        all.push_str(&found);
        // The second is what it says of a server that wants a login first.
        let good =
            ["Server doesn't seem to be an open relay, all tests failed", "Server isn't an open relay"];
        assert!(good.iter().any(|words| found.contains(words)), "{listener}: {found}");
    }
    keep("nmap-relay", &all);
}

#[test]
fn nmap_finds_only_the_commands_that_are_offered() {
    let world = World::closed();
    let mut all = String::new();
    for listener in ["smtp", "submission"] {
        let found = nmap("smtp-commands", world.port(listener));
        all.push_str(&found);
        assert!(found.contains("STARTTLS"), "{listener}: {found}");
        for never in ["EXPN", "ETRN", "TURN", "XCLIENT", "XFORWARD"] {
            assert!(!found.contains(never), "{listener}: {found}");
        }
        let ehlo = found.lines().find(|line| line.contains("smtp-commands:")).unwrap_or_default();
        assert_eq!(ehlo.contains(" AUTH "), listener == "submission", "{listener}: {found}");
    }
    keep("nmap-commands", &all);
}

#[test]
fn nmap_finds_no_weak_cipher() {
    let world = World::closed();
    let mut all = String::new();
    for listener in ["submissions", "pop3s"] {
        let found = nmap("ssl-enum-ciphers", world.port(listener));
        all.push_str(&found);
        assert!(found.contains("TLSv1.2:") && found.contains("least strength: A"), "{listener}: {found}");
        for weak in ["SSLv3", "TLSv1.0", "TLSv1.1", "warnings:", "_CBC_", "_RC4_", "_3DES_", "TLS_RSA_WITH"] {
            assert!(!found.contains(weak), "{listener}, {weak}: {found}");
        }
    }
    keep("nmap-ciphers", &all);
}

/// Whether a line of testssl's findings is one that an operator would have to do something about.
fn is_bad(finding: &str) -> bool {
    // Of the machine it runs on, and not of the server.
    let is_own = finding.starts_with("\"engine_problem\"");
    let severities = ["LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL"];
    !is_own && finding.split("\",\"").any(|field| severities.contains(&field.trim_matches('"')))
}

/// What testssl.sh writes of one listener.
fn testssl(port: u16, file: &Path, starttls: Option<&str>) -> String {
    let mut command = Command::new("testssl");
    // Protocols, classes of ciphers, forward secrecy, and the flaws that have names; what it
    // would say of the certificate it says of every private CA.
    command.args(["--quiet", "--warnings", "batch", "--color", "0", "--nodns", "none"]);
    command.args(["--protocols", "--std", "--pfs", "--vulnerable", "--csvfile"]).arg(file);
    if let Some(protocol) = starttls {
        command.args(["--starttls", protocol]);
    }
    command.arg(format!("127.0.0.1:{port}"));
    // Its exit code counts oddities of its own; what it has found is in the file.
    let output = command.stdin(Stdio::null()).output().expect("testssl starts");
    std::fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("{port}: {error}\n{}", String::from_utf8_lossy(&output.stdout)))
}

#[test]
fn testssl_finds_nothing_weak() {
    needs("testssl", "testssl.sh");
    let world = World::closed();
    let listeners = [("pop3s", None), ("submissions", None), ("smtp", Some("smtp")), ("pop3", Some("pop3"))];
    // Half a minute for each, most of it waiting.
    let found = std::thread::scope(|scope| {
        let scans = listeners.map(|(listener, starttls)| {
            let (port, file) = (world.port(listener), world.path(&format!("{listener}.csv")));
            scope.spawn(move || (listener, testssl(port, &file, starttls)))
        });
        scans.map(|scan| scan.join().expect("the scan ends"))
    });
    let mut all = String::new();
    let mut bad = Vec::new();
    for (listener, findings) in found {
        assert!(findings.contains("\"TLS1_3\"") && findings.contains("\"TLS1_2\""), "{listener}: {findings}");
        all.push_str(&findings);
        bad.extend(findings.lines().filter(|line| is_bad(line)).map(|line| format!("{listener}: {line}")));
    }
    keep("testssl", &all);
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
