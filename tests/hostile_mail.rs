//! Mail that is made to break readers, end to end: the server takes it without reading it, and the
//! command that shows it ends in time, within bounded memory, with something to show.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod disk_kit;
mod support;

use disk_kit::tally::Tally;
use std::time::{Duration, Instant};
use support::Home;
use support::wire::{Smtp, mailbox, without_trace};

const BOB: &str = "bob@example.org";
/// Reading one message may take 5 s; then the command gives up by itself.
const SHOWN: Duration = Duration::from_secs(20);
/// The address space of the command, in KiB: the stacks of its threads and a small multiple of the
/// largest message.
const SPACE_KIB: u32 = 1 << 20;

fn bombs() -> Vec<(&'static str, String)> {
    let mixed = "Subject: bomb\nContent-Type: multipart/mixed; boundary=b\n\n";
    let nested = |encoding: &str, body: &str| {
        format!("Content-Type: message/rfc822\nContent-Transfer-Encoding: {encoding}\n\n{body}\n")
    };
    let levels: String = (0..5_000)
        .map(|level| format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n"))
        .collect();
    let parts: String =
        (0..100_000).map(|part| format!("--b\nContent-Type: a/b; name=f{part}\n\nx\n")).collect();
    let parameters: String = (0..50_000).map(|number| format!("; p{number}=x")).collect();
    vec![
        // "Received:", a line end, a tab: a parser has paniced on it.
        ("nested, base64", format!("Subject: bomb\n{}", nested("base64", "UmVjZWl2ZWQ6Cgk="))),
        ("nested, base64, CRLF", format!("Subject: bomb\n{}", nested("base64", "UmVjZWl2ZWQ6DQoJ"))),
        ("nested, quoted", format!("Subject: bomb\n{}", nested("quoted-printable", "Received:=0A=09"))),
        ("nested in a part", format!("{mixed}--b\n{}--b--\n", nested("base64", "UmVjZWl2ZWQ6Cgk="))),
        ("5,000 levels", format!("Subject: bomb\n{levels}Content-Type: text/plain\n\nbottom\n")),
        (
            "5,000 messages within each other",
            format!("Subject: bomb\n{}\nx\n", "Content-Type: message/rfc822\n\n".repeat(5_000)),
        ),
        ("100,000 parts", format!("{mixed}{parts}--b--\n")),
        // As many To lines as a header of 1 MiB can hold, and the rest behind it.
        ("To lines", format!("Subject: bomb\n{}\nx\n", "To: a@x.org\n".repeat(75_000))),
        (
            "100,000 To lines in a part",
            format!(
                "{mixed}--b\nContent-Type: message/rfc822\n\n{}\nx\n--b--\n",
                "To: a@x.org\n".repeat(100_000)
            ),
        ),
        ("addresses", format!("Subject: bomb\nTo: {}x@y.org\n\nx\n", "a@x.org,\n ".repeat(90_000))),
        (
            "parameters",
            format!("Subject: bomb\nContent-Type: text/plain{}\n\nx\n", parameters.replace("; p", ";\n p")),
        ),
    ]
}

#[test]
fn mail_that_breaks_readers_is_taken_as_it_is_and_shown_in_bounded_time_and_memory() {
    let mut home = Home::new(&[]);
    let mut server = home.serve();
    let bombs = bombs();
    for (name, text) in &bombs {
        let message = text.replace('\n', "\r\n");
        let reply = Smtp::open(server.smtp).deliver("eve@client.example", BOB, message.as_bytes());
        assert_eq!(reply.code, 250, "{name}: {reply:?}");
    }
    let kept = mailbox(server.pop3, BOB);
    let mut tally = Tally { tries: bombs.len(), ..Tally::default() };
    for ((name, text), got) in bombs.iter().zip(&kept) {
        if without_trace(got) != text.replace('\n', "\r\n").as_bytes() {
            tally.damaged(name);
        }
    }
    (kept.len()..bombs.len()).for_each(|_| tally.lost("a message"));
    home.wrap(&["sh", "-c", &format!("ulimit -v {SPACE_KIB}; exec \"$@\""), "sh"]);
    let shown = |arguments: &[&str], what: &str| {
        let since = Instant::now();
        let shown = home.succeed(arguments, "");
        assert!(since.elapsed() < SHOWN, "{what}: {:?}", since.elapsed());
        assert!(shown.contains("bomb"), "{what}: {}", &shown[..shown.len().min(500)]);
        assert!(shown.len() < 1 << 20, "{what}: {} octets are shown", shown.len());
    };
    for (number, (name, _)) in bombs.iter().enumerate() {
        shown(&["message", "show", BOB, &(number + 1).to_string()], name);
    }
    shown(&["message", "list", BOB], "the list");
    assert!(!server.has_ended());
    assert!(server.stop().status.success());
    tally.conclude("hostile mail");
}
