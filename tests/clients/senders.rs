//! Clients that send. What arrived is read back over a plain POP3 connection.

use super::support::corpus::Sample;
use super::support::wire::{mailbox, same, without_trace};
use super::support::{Home, Server};
use super::{file_of, needs, samples, script, succeed, table, version};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const ALICE: &str = "alice@client.example";

/// What one client does with samples: which it can send, how, and what will arrive.
struct Sender<'a> {
    client: &'a str,
    version: String,
    /// Whether the client can send this at all.
    can: fn(&Sample) -> bool,
    /// The octets that the client makes of the sample, by its documentation.
    makes: fn(&Sample) -> Vec<u8>,
    /// Sends the file to the address.
    send: &'a dyn Fn(&Server, &Path, &str) -> Command,
    /// Whether the message is its standard input.
    reads_input: bool,
}

fn everything(_: &Sample) -> bool {
    true
}

fn as_it_is(sample: &Sample) -> Vec<u8> {
    sample.message.clone()
}

impl Sender<'_> {
    fn run(self) {
        let home = Home::new(&[]);
        let server = home.serve();
        let mut operations = Vec::new();
        for (number, sample) in samples().iter().enumerate().filter(|(_, sample)| (self.can)(sample)) {
            let file = file_of(home.path(), sample);
            let to = format!("sample{number}@example.org");
            let mut command = (self.send)(&server, &file, &to);
            command.env("HOME", home.path());
            let input = match self.reads_input {
                true => File::open(&file).expect("the sample").into(),
                false => Stdio::null(),
            };
            let what = format!("{}, {}", self.client, sample.name);
            succeed(&what, &mut command, input);
            let kept = mailbox(server.pop3, &to);
            assert_eq!(kept.len(), 1, "{what}");
            same(without_trace(&kept[0]), &(self.makes)(sample), &what);
            operations.push(sample.name);
        }
        if operations.len() == samples().len() {
            operations = vec!["every sample"];
        }
        table::done(self.client, &self.version, &operations);
    }
}

#[test]
fn swaks_sends() {
    needs("swaks", "swaks");
    Sender {
        client: "swaks",
        version: version("swaks", "--version"),
        // swaks takes the first empty line for the end of a header and wants one.
        can: |sample| sample.name != "no header",
        makes: as_it_is,
        send: &|server, file, to| {
            // swaks ends what has no dot at its end with one more line end.
            let mut file_with_dot = OpenOptions::new().append(true).open(file).expect("the sample");
            file_with_dot.write_all(b".\r\n").expect("room on the disk");
            let mut command = Command::new("swaks");
            command.args(["--server", &server.smtp.to_string(), "--helo", "client.example"]);
            command.args(["--from", ALICE, "--to", to, "--silent", "2", "--timeout", "60s"]);
            command.arg("--data").arg(format!("@{}", file.display()));
            command
        },
        reads_input: false,
    }
    .run();
}

#[test]
fn curl_sends() {
    needs("curl", "curl");
    let send = |server: &Server, file: &Path, to: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "120", &format!("smtp://{}/client.example", server.smtp)]);
        command.args(["--mail-from", ALICE, "--mail-rcpt", to, "--upload-file"]).arg(file);
        command
    };
    Sender {
        client: "curl, smtp",
        version: version("curl", "--version"),
        can: everything,
        makes: as_it_is,
        send: &send,
        reads_input: false,
    }
    .run();

    let home = Home::new(&[]);
    let server = home.serve();
    let file = file_of(home.path(), &samples()[0]);
    let mut command = send(&server, &file, "bücher@bücher.example");
    // curl tells an address in UTF-8 by the locale.
    command.env("LC_ALL", "C.UTF-8");
    succeed("curl, SMTPUTF8", &mut command, Stdio::null());
    assert_eq!(mailbox(server.pop3, "bücher@bücher.example").len(), 1);
    let mut verify = Command::new("curl");
    verify.args(["-sS", &format!("smtp://{}", server.smtp), "--mail-rcpt", "bob"]);
    succeed("curl, VRFY", &mut verify, Stdio::null());
    table::done("curl, smtp", "", &["UTF-8 address", "VRFY"]);
}

#[test]
fn msmtp_sends() {
    needs("msmtp", "msmtp");
    Sender {
        client: "msmtp",
        version: version("msmtp", "--version"),
        can: everything,
        makes: as_it_is,
        send: &|server, _, to| {
            let mut command = Command::new("msmtp");
            command.args(["--host=127.0.0.1", &format!("--port={}", server.smtp.port())]);
            command.args([&format!("--from={ALICE}"), "--auth=off", "--tls=off", "--domain=client.example"]);
            command.args(["--set-date-header=off", "--set-msgid-header=off", "--set-from-header=off"]);
            command.args(["--undisclosed-recipients=off", "--remove-bcc-headers=off", "--", to]);
            command
        },
        reads_input: true,
    }
    .run();
}

#[test]
fn pythons_smtplib_sends() {
    needs("python3", "python3");
    let send = |server: &Server, file: &Path, to: &str| {
        let mut command = Command::new("python3");
        command.arg(script("smtplib_send.py"));
        command.args([&server.smtp.port().to_string(), ALICE, to]).arg(file);
        command
    };
    Sender {
        client: "Python smtplib",
        version: version("python3", "--version"),
        can: everything,
        makes: as_it_is,
        send: &send,
        reads_input: false,
    }
    .run();

    let home = Home::new(&[]);
    let server = home.serve();
    let sample = &samples()[0];
    let mut command = send(&server, &file_of(home.path(), sample), "grüße@example.org");
    succeed("smtplib, SMTPUTF8", &mut command, Stdio::null());
    let kept = mailbox(server.pop3, "grüße@example.org");
    same(without_trace(&kept[0]), &sample.message, "smtplib, SMTPUTF8");
    table::done("Python smtplib", "", &["UTF-8 address", "VRFY, NOOP, RSET"]);
}

#[test]
fn perls_net_smtp_sends() {
    needs("perl", "perl");
    Sender {
        client: "Perl Net::SMTP",
        version: perl_version("Net::SMTP"),
        can: everything,
        makes: as_it_is,
        send: &|server, file, to| {
            let mut command = Command::new("perl");
            command.arg(script("net_smtp.pl")).args([&server.smtp.port().to_string(), ALICE, to]).arg(file);
            command
        },
        reads_input: false,
    }
    .run();
}

pub(crate) fn perl_version(module: &str) -> String {
    let program = format!("print ${module}::VERSION");
    let output = Command::new("perl").args([&format!("-M{module}"), "-e", &program]).output();
    String::from_utf8_lossy(&output.expect("perl").stdout).into_owned()
}

#[test]
fn telnet_sends() {
    needs("telnet", "telnet");
    needs("expect", "expect");
    Sender {
        client: "telnet, smtp",
        version: "inetutils".to_owned(),
        // A person types lines that a terminal can take, and text that a terminal can show.
        can: |sample| ["plain", "UTF-8 headers", "dots", "empty body", "no header"].contains(&sample.name),
        makes: as_it_is,
        send: &|server, file, to| {
            let mut command = Command::new("expect");
            command.env("LC_ALL", "C.UTF-8").arg(script("telnet_send.exp"));
            command.args([&server.smtp.port().to_string(), ALICE, to]).arg(file);
            command
        },
        reads_input: false,
    }
    .run();
}
