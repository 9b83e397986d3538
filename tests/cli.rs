//! The program as its users see it: commands, exit codes, what is said where.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests stop at what fails"
)]

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use predicates::prelude::*;
use predicates::str::{contains, is_empty, is_match, starts_with};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A directory of its own, with a configuration that opens ports that the system picks.
struct Home {
    dir: tempfile::TempDir,
}

const OPEN: &str = "[listen]\nsmtp = [\"127.0.0.1:0\"]\npop3 = [\"127.0.0.1:0\"]\n";
const CLOSED: &str = "[listen]\nsmtp = [\"127.0.0.1:0\"]\npop3 = [\"127.0.0.1:0\"]\n\
    [accounts]\nmode = \"closed\"\ndomains = [\"example.org\"]\n";

impl Home {
    fn new(toml: &str) -> Home {
        let home = Home { dir: tempfile::tempdir().expect("a directory") };
        std::fs::write(home.dir.path().join("pillarbox.toml"), toml).expect("the configuration");
        home
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("pillarbox-data")
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pillarbox"));
        command.args(arguments).current_dir(self.dir.path());
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("PILLARBOX")) {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Assert {
        Command::from_std(self.command(arguments)).timeout(Duration::from_secs(60)).assert()
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Assert {
        let mut command = Command::from_std(self.command(arguments));
        command.timeout(Duration::from_secs(60)).write_stdin(input).assert()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.run(arguments).success().get_output().stdout).expect("JSON")
    }

    /// Starts the server and waits for its ready line.
    fn serve(&self) -> Server {
        let mut command = self.command(&["serve"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a server");
        let mut ready = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        out.read_line(&mut ready).expect("a ready line");
        let address = |kind: &str| {
            let word = ready.split_whitespace().find_map(|word| word.strip_prefix(kind)).expect("a listener");
            word.to_owned()
        };
        Server { smtp: address("smtp="), child }
    }
}

struct Server {
    smtp: String,
    child: Child,
}

impl Server {
    /// Delivers a message in one pipelined batch.
    fn deliver(&self, to: &str, message: &str) {
        let mut peer = TcpStream::connect(&self.smtp).expect("a connection");
        peer.set_read_timeout(Some(Duration::from_secs(30))).expect("a deadline");
        let mut replies = BufReader::new(peer.try_clone().expect("both ways"));
        let mut say = |text: &str, code: &str| {
            peer.write_all(text.as_bytes()).expect("sent");
            let mut line = String::new();
            while line.as_bytes().get(3) != Some(&b' ') {
                line.clear();
                assert!(replies.read_line(&mut line).expect("a reply") > 0, "no reply to {text}");
            }
            assert!(line.starts_with(code), "{text}: {line}");
        };
        say("", "220");
        say("EHLO client.example\r\n", "250");
        say("MAIL FROM:<a@client.example>\r\n", "250");
        say(&format!("RCPT TO:<{to}>\r\n"), "250");
        say("DATA\r\n", "354");
        say(&format!("{}\r\n.\r\n", message.trim_end().replace('\n', "\r\n")), "250");
        say("QUIT\r\n", "221");
    }

    fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("a signal");
        assert!(self.child.wait().expect("an end").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn one_line_of_reason() -> impl Predicate<str> {
    is_match("^pillarbox: [^\n]+\n$").expect("a pattern")
}

#[test]
fn help_teaches_and_wrong_usage_is_exit_code_two() {
    let home = Home::new("");
    home.run(&[]).code(2).stdout(is_empty()).stderr(contains("Usage: pillarbox").and(contains("Examples:")));
    home.run(&["--help"]).success().stderr(is_empty()).stdout(contains("pillarbox serve --ephemeral"));
    home.run(&["--version"]).success().stdout(starts_with("pillarbox 0."));
    for command in ["serve", "check", "account", "alias", "message", "ready"] {
        home.run(&["--help"]).stdout(contains(format!("\n  {command} ")));
        home.run(&[command, "--help"]).success().stdout(contains("Usage: pillarbox"));
    }
    for wrong in [
        &["nonsense"][..],
        &["account"],
        &["account", "add"],
        &["account", "add", "alice"],
        &["account", "add", "alice@example.org", "--quota", "25m"],
        &["alias", "add", "sales@example.org"],
        &["alias", "add", "@", "alice@example.org"],
        &["message", "show", "alice@example.org", "0"],
        &["message", "show", "alice@example.org", "first"],
        &["ready", "--wait", "10"],
        &["serve", "--ephemeral", "--data-dir", "x"],
        &["serve", "--nonsense"],
    ] {
        home.run(wrong).code(2).stdout(is_empty()).stderr(is_empty().not());
    }
    home.run(&["account", "add", "alice"]).stderr(contains("the domain is missing"));
    home.run(&["ready", "--wait", "10"]).stderr(contains("has no unit (ms, s, m or h); write 10s"));
}

#[test]
fn check_says_that_a_configuration_is_sound_and_what_it_amounts_to() {
    let home = Home::new("[limits]\nsmtp_timeout = \"30s\"\n");
    home.run(&["check"]).success().stderr(is_empty()).stdout(
        starts_with("configuration is sound\nfile      pillarbox.toml\n")
            .and(contains("\nmode      open"))
            .and(contains("\nsmtp      127.0.0.1:1025\npop3      127.0.0.1:1110\n"))
            .and(contains("\nretention max_age off, max_messages off, total_size 1 GiB\n"))
            .and(contains("\nwarning   limits.smtp_timeout: \"30s\" is shorter than RFC 5321")),
    );
    let mut command = home.command(&["--data-dir", "elsewhere", "check"]);
    command.env("PILLARBOX_DATA_DIR", "of-environment").env("PILLARBOX_LISTEN__POP3", "");
    let assert = Command::from_std(command).assert().success();
    assert.stdout(contains("\ndata_dir  elsewhere\n").and(contains("\npop3      off\n")));
}

#[test]
fn check_tells_the_key_whose_file_is_of_no_use_for_tls() {
    let home = Home::new("[tls]\ncertificate = \"none.pem\"\nprivate_key = \"key.pem\"\n");
    home.run(&["check"]).code(1).stdout(is_empty()).stderr(
        "pillarbox.toml:2: tls.certificate: none.pem cannot be read: No such file or directory (os error 2); \
         name a PEM file that this user may read\n\
         pillarbox.toml:3: tls.private_key: key.pem cannot be read: No such file or directory (os error 2); \
         name a PEM file that this user may read\n",
    );
    let unsound =
        Home::new("[tls]\ncertificate = \"a.pem\"\nprivate_key = \"a.pem\"\n[limits]\nrecipients = 0\n");
    std::fs::write(unsound.dir.path().join("a.pem"), "neither").expect("a file");
    unsound.run(&["check"]).code(1).stderr(
        starts_with("pillarbox.toml:2: tls.certificate: a.pem holds no certificate; ")
            .and(contains("\npillarbox.toml:3: tls.private_key: a.pem holds no private key in PEM; "))
            .and(contains("\npillarbox.toml:5: limits.recipients: 0 is too small")),
    );
    home.run(&["tls", "dev"]).success();
    let made = home.data_dir().join("tls");
    std::fs::copy(made.join("cert.pem"), home.dir.path().join("none.pem")).expect("a certificate");
    std::fs::copy(made.join("ca-key.pem"), home.dir.path().join("key.pem")).expect("another key");
    home.run(&["check"])
        .code(1)
        .stderr(starts_with("pillarbox.toml:3: tls.private_key: the key in key.pem does"));
}

#[test]
fn check_says_when_a_name_alone_logs_nobody_in() {
    let sound = |hostname: &str| {
        let domains = "[accounts]\nmode = \"closed\"\ndomains = [\"example.org\"]\n";
        Home::new(&format!("hostname = \"{hostname}\"\n{domains}")).run(&["check"]).success()
    };
    let advice =
        "\nlogins    with the full address, as NAME@example.org; NAME alone means NAME@mail.example.org\n";
    sound("mail.example.org").stdout(contains(advice));
    sound("example.org").stdout(contains("\nlogins").not());
}

#[test]
fn every_command_tells_every_fault_of_the_configuration() {
    let home = Home::new("hostnme = \"x\"\n[limits]\nrecipients = 0\n");
    let faults = "pillarbox.toml:1: hostnme: is not a key of the configuration; did you mean hostname?\n\
        pillarbox.toml:3: limits.recipients: 0 is too small, 1 is the least; write recipients = 1\n";
    for command in [&["check"][..], &["serve"], &["account", "list"], &["ready"]] {
        home.run(command).code(1).stdout(is_empty()).stderr(faults);
    }
    let home = Home::new("");
    home.run(&["--config", "missing.toml", "check"])
        .code(1)
        .stderr(contains("missing.toml: cannot be read: No such file"));
}

#[test]
fn without_a_database_there_is_nothing_to_list_and_none_is_made() {
    let home = Home::new(OPEN);
    home.run(&["account", "list"]).success().stdout("ADDRESS  KIND  MESSAGES  OCTETS  QUOTA\n");
    assert_eq!(home.json(&["account", "list", "--json"]), json!([]));
    assert_eq!(home.json(&["alias", "list", "--json"]), json!([]));
    for (command, reason) in [
        (&["message", "show", "a@example.org", "1"][..], "there is no message 1: the mailbox is empty"),
        (&["export", "a@example.org", "--mbox", "-"], "there is no mailbox a@example.org"),
        (&["account", "remove", "a@example.org"], "there is no account a@example.org"),
        (&["account", "password", "a@example.org", "--password-stdin"], "there is no account a@example.org"),
        (&["alias", "remove", "@example.org"], "there is no alias @example.org"),
        (&["ready"], "no server runs on pillarbox-data"),
        (&["ready", "--wait", "60ms"], "no server runs on pillarbox-data"),
    ] {
        home.run(command).code(1).stdout(is_empty()).stderr(one_line_of_reason().and(contains(reason)));
    }
    assert!(!home.data_dir().exists());
}

#[test]
fn a_data_directory_that_cannot_be_looked_into_is_not_an_empty_one() {
    let home = Home::new(OPEN);
    std::fs::write(home.data_dir(), "a file").expect("a file");
    for command in [
        &["account", "list"][..],
        &["account", "remove", "a@example.org"],
        &["alias", "list"],
        &["message", "list", "a@example.org"],
    ] {
        let reason = contains("pillarbox-data/pillarbox.db cannot be looked at");
        home.run(command).code(1).stdout(is_empty()).stderr(one_line_of_reason().and(reason));
    }
}

#[test]
fn a_password_that_nobody_could_use_is_refused() {
    let home = Home::new(CLOSED);
    let add = ["account", "add", "alice@example.org", "--password-stdin"];
    home.run_with(&add, "\n").code(1).stderr(one_line_of_reason().and(contains("the password is empty")));
    home.run_with(&add, "").code(1).stderr(contains("the password is empty"));
    home.run_with(&add, "a\0b\n").code(1).stderr(contains("NUL, CR or LF"));
    assert!(!home.data_dir().exists());
}

#[test]
fn accounts_are_added_listed_changed_and_removed() {
    let home = Home::new(CLOSED);
    let add = |address: &str, more: &[&str]| {
        home.run_with(&[&["account", "add", address, "--password-stdin"], more].concat(), "secret\n")
    };
    add("Alice@Example.org", &[]).success().stdout("added alice@example.org\n").stderr(is_empty());
    add("bob@example.org", &["--quota", "10 MiB"]).success();
    add("carol@example.org", &["--quota", "off"]).success();
    add("dave@example.com", &[]).success().stderr(contains("example.com is not in accounts.domains"));
    add("alice@example.org", &[]).code(1).stderr(contains("alice@example.org is an account already"));
    home.run(&["account", "list"]).success().stdout(
        starts_with("ADDRESS            KIND     MESSAGES  OCTETS  QUOTA\n")
            .and(contains("\nbob@example.org    account         0       0  10 MiB\n")),
    );
    let row = |address: &str, quota: &str, quota_octets: Value| {
        json!({"address": address, "kind": "account", "messages": 0, "octets": 0,
               "quota": quota, "quota_octets": quota_octets})
    };
    assert_eq!(
        home.json(&["account", "list", "--json"]),
        json!([
            row("alice@example.org", "default", Value::Null),
            row("bob@example.org", "10 MiB", json!(10_485_760)),
            row("carol@example.org", "off", Value::Null),
            row("dave@example.com", "default", Value::Null),
        ])
    );
    let password = ["account", "password", "alice@example.org", "--password-stdin"];
    home.run_with(&password, "other\r\n").success().stdout("changed the password of alice@example.org\n");
    home.run(&["account", "remove", "bob@example.org"])
        .success()
        .stdout("removed bob@example.org and its 0 messages\n");
    home.run(&["account", "remove", "bob@example.org"]).code(1).stderr(one_line_of_reason());
}

#[test]
fn an_account_is_set_up_without_a_person_and_once() {
    let home = Home::new(CLOSED);
    let file = home.dir.path().join("secret");
    std::fs::write(&file, "first\nnot read\n").expect("the file");
    let path = file.to_str().expect("text");
    let add = ["account", "add", "bob@example.org", "--password-file", path];
    home.run(&add).success().stdout("added bob@example.org\n");
    let kept = std::fs::read(home.data_dir().join("pillarbox.db")).expect("the database");
    home.run(&add).failure().stderr(contains("bob@example.org is an account already"));
    std::fs::write(&file, "second\n").expect("the file");
    let again = [add.as_slice(), &["--if-missing"]].concat();
    home.run(&again).success().stdout("bob@example.org is an account already and stays as it is\n");
    // Its password above all.
    assert!(std::fs::read(home.data_dir().join("pillarbox.db")).expect("the database") == kept);
    let missing = ["account", "password", "bob@example.org", "--password-file", "nowhere"];
    home.run(&missing).failure().stderr(contains("cannot be read from nowhere"));
    let both = [add.as_slice(), &["--password-stdin"]].concat();
    home.run(&both).code(2);
    // An alias in the way is a fault all the same.
    home.run(&["alias", "add", "team@example.org", "bob@example.org"]).success();
    let alias = ["account", "add", "team@example.org", "--password-file", path, "--if-missing"];
    home.run(&alias).failure().stderr(contains("team@example.org is an alias already"));
}

#[test]
fn pages_are_written_for_every_command_and_the_help_does_not_tell_of_it() {
    let home = Home::new(OPEN);
    home.run(&["pages", "out"]).success();
    let read = |name: &str| {
        std::fs::read_to_string(home.dir.path().join("out").join(name)).expect("a page of that name")
    };
    assert!(read("man1/pillarbox.1").contains("SIGHUP"));
    assert!(read("man1/pillarbox-account-add.1").contains("password\\-file"));
    assert!(read("man1/pillarbox-import.1").contains("[\\fB\\-\\-config\\fR \\fIFILE\\fR]"));
    let import = read("man1/pillarbox-import.1");
    assert!(import.contains(" \\fIADDRESS\\fR \\fIPATH\\fR...\n"), "{import}");
    assert!(import.contains("\n.SH EXAMPLES\n.nf\n  pillarbox import alice"), "{import}");
    assert!(
        read("man1/pillarbox-export.1")
            .contains(" {\\fB\\-\\-mbox\\fR \\fIFILE\\fR | \\fB\\-\\-eml\\fR \\fIDIR\\fR}")
    );
    assert!(read("man5/pillarbox.toml.5").contains("limits.message_size"));
    for completions in ["pillarbox.bash", "_pillarbox", "pillarbox.fish"] {
        let text = read(&format!("completions/{completions}"));
        assert!(text.contains("ephemeral") && !text.contains("pages"), "{completions}");
    }
    home.run(&["--help"]).success().stdout(contains("pages").not());
}

#[test]
fn aliases_are_added_listed_and_removed() {
    let home = Home::new(CLOSED);
    for name in ["alice@example.org", "bob@example.org"] {
        home.run_with(&["account", "add", name, "--password-stdin"], "secret\n").success();
    }
    let (alice, bob) = ("alice@example.org", "bob@example.org");
    home.run(&["alias", "add", "Sales@example.org", alice, bob, "ALICE@example.org"])
        .success()
        .stdout("added sales@example.org\n");
    home.run(&["alias", "add", "@example.org", alice]).success().stdout("added @example.org\n");
    home.run(&["alias", "add", "x@example.org", "eve@example.com"])
        .code(1)
        .stderr(one_line_of_reason().and(contains("eve@example.com is neither an account nor an alias")));
    assert_eq!(
        home.json(&["alias", "list", "--json"]),
        json!([
            {"address": "@example.org", "targets": [alice]},
            {"address": "sales@example.org", "targets": [alice, bob]},
        ])
    );
    home.run(&["alias", "list"]).success().stdout(contains("alice@example.org, bob@example.org\n"));
    home.run(&["alias", "remove", "@example.org"]).success().stdout("removed @example.org\n");
    home.run(&["alias", "remove", "@example.org"]).code(1).stderr(one_line_of_reason());
}

const MESSAGE: &str = "From: =?utf-8?q?Gr=C3=BCn?= <gruen@client.example>\nTo: alice@example.org\n\
    Date: Mon, 23 Nov 2026 10:00:00 +0000\nSubject: \x1b[31mred\n\
    Content-Type: multipart/mixed; boundary=b\n\n\
    --b\nContent-Type: text/plain; charset=utf-8\n\nHello \x1b]0;title\x07there\n\
    --b\nContent-Type: text/csv; name=\"/etc/numbers.csv\"\n\n1,2\n--b--\n";

#[test]
fn messages_are_listed_and_shown_while_the_server_runs() {
    let home = Home::new(OPEN);
    let server = home.serve();
    server.deliver("alice@example.org", MESSAGE);
    server.deliver("alice+shop@example.org", "just text, no header\n");
    let list = home.json(&["message", "list", "alice@example.org", "--json"]);
    assert_eq!(list[0]["number"], json!(1));
    assert_eq!(list[0]["date"], json!("2026-11-23T10:00:00Z"));
    assert_eq!(list[0]["from"], json!("Grün <gruen@client.example>"));
    assert_eq!(list[0]["subject"], json!("\u{fffd}[31mred"));
    assert_eq!(list[0]["attachments"], json!(["numbers.csv"]));
    assert_eq!(list[1]["subject"], Value::Null);
    assert_eq!(list[1]["attachments"], json!([]));
    assert!(list[1]["date"].is_string(), "the time of arrival: {list}");
    home.run(&["message", "list", "alice+shop@example.org"])
        .success()
        .stdout(starts_with("NUMBER  DATE").and(contains("Grün <gruen@client.example>")));
    home.run(&["message", "show", "alice@example.org", "1"]).success().stdout(
        starts_with("From: Grün <gruen@client.example>\nTo: alice@example.org\n")
            .and(contains("\n\nHello \u{fffd}]0;title\u{fffd}there\n"))
            .and(contains("  numbers.csv (text/csv, 3 octets)\n"))
            .and(contains("\x1b").not()),
    );
    let raw = home.run(&["message", "show", "alice@example.org", "1", "--raw"]).success();
    let raw = raw.get_output().stdout.clone();
    assert!(raw.starts_with(b"Return-Path: <a@client.example>\r\n"));
    assert!(raw.ends_with(MESSAGE.replace('\n', "\r\n").as_bytes()));
    assert_eq!(list[0]["octets"], json!(raw.len()));
    home.run(&["message", "show", "alice@example.org", "3"])
        .code(1)
        .stderr(one_line_of_reason().and(contains("there is no message 3: the mailbox has 2 messages")));
    home.run(&["message", "list", "nobody@example.org"]).success();
    let accounts = home.json(&["account", "list", "--json"]);
    assert_eq!((&accounts[0]["kind"], &accounts[0]["messages"]), (&json!("caught"), &json!(2)));
    home.run(&["account", "remove", "alice@example.org"])
        .success()
        .stdout("removed alice@example.org and its 2 messages\n");
    server.stop();
}

#[test]
fn a_message_made_to_break_readers_is_listed_and_breaks_nothing() {
    let home = Home::new(OPEN);
    let server = home.serve();
    let part = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nUmVjZWl2ZWQ6DQoJ\n";
    server.deliver("alice@example.org", &format!("Subject: whole\n{part}"));
    server.deliver(
        "alice@example.org",
        &format!("Subject: part\nContent-Type: multipart/mixed; boundary=b\n\n--b\n{part}--b--\n"),
    );
    let levels = "Content-Type: message/rfc822\n\n".repeat(50_000);
    server.deliver("alice@example.org", &format!("Subject: deep\n{levels}Subject: inner\n\nx\n"));
    let list = home.run(&["message", "list", "alice@example.org", "--json"]).success().stderr(is_empty());
    let list: Value = serde_json::from_slice(&list.get_output().stdout).expect("JSON");
    let subjects: Vec<_> = list.as_array().expect("a list").iter().map(|m| m["subject"].clone()).collect();
    assert_eq!(subjects, ["whole", "part", "deep"]);
    for number in ["1", "2", "3"] {
        home.run(&["message", "show", "alice@example.org", number]).success().stderr(is_empty());
    }
    server.stop();
}

#[test]
fn ready_tells_whether_the_running_server_answers() {
    let home = Home::new(OPEN);
    let server = home.serve();
    home.run(&["ready"]).success().stdout(is_match("^ready smtp=127.0.0.1:[0-9]+ pop3=").expect("a pattern"));
    home.run(&["ready", "--wait", "10s"]).success();
    server.stop();
    home.run(&["ready"]).code(1).stdout(is_empty()).stderr(one_line_of_reason());
    // Asked before it starts, the answer comes when it has.
    let mut waiting =
        home.command(&["ready", "--wait", "60s"]).stdout(Stdio::piped()).spawn().expect("a start");
    let server = home.serve();
    let mut said = String::new();
    waiting.stdout.take().expect("its output").read_to_string(&mut said).expect("text");
    assert!(waiting.wait().expect("an end").success() && said.starts_with("ready smtp="), "{said}");
    server.stop();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let home = Home::new("");
    for arguments in [&["check"][..], &["--help"], &["account", "list", "--json"]] {
        let mut child =
            home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("an end");
        assert!(output.status.success(), "{arguments:?}: {}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}
