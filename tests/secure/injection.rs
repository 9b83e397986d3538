//! Somebody on the way puts commands behind STARTTLS or STLS, in the packet that asks for TLS. The
//! client is `openssl s_client`, which knows nothing of it; whatever is answered to those commands
//! after the handshake would be taken for the answer to the client's own.

use super::tunnel::{Start, Tunnel};
use super::world::{ANN, BOB, PASSWORD, World};
use crate::support::wire::{Line, Smtp};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// A relay to `server` that sends `extra` along with the first line that asks for TLS.
fn meddler(server: SocketAddr, extra: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let (client, _) = listener.accept().expect("a client");
        let server = TcpStream::connect(server).expect("the server listens");
        let (mut from_server, mut to_client) =
            (server.try_clone().expect("ours"), client.try_clone().expect("ours"));
        thread::spawn(move || {
            let _ = std::io::copy(&mut from_server, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Write);
        });
        forward(client, server, &extra);
    });
    address
}

fn forward(mut client: TcpStream, mut server: TcpStream, extra: &str) {
    let mut piece = [0; 16 * 1024];
    let mut injected = false;
    while let Ok(octets @ 1..) = client.read(&mut piece) {
        let mut packet = piece[..octets].to_vec();
        if !injected && (packet == b"STARTTLS\r\n" || packet == b"STLS\r\n") {
            packet.extend_from_slice(extra.as_bytes());
            injected = true;
        }
        if server.write_all(&packet).is_err() {
            break;
        }
    }
    assert!(injected, "the client never asked for TLS");
    let _ = server.shutdown(Shutdown::Write);
}

#[test]
fn commands_behind_starttls_are_never_acted_on() {
    let world = World::closed();
    for listener in ["smtp", "submission"] {
        for extra in [
            format!("RSET\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<{BOB}>\r\n"),
            "EHLO evil.example\r\n".to_owned(),
            "NOOP\r\nMAIL FROM:<ev".to_owned(),
        ] {
            let through = meddler(world.local(listener), extra.clone());
            let mut tunnel = Tunnel::open(through, Start::Smtp, &world.ca);
            // Before EHLO there is no transaction, and RCPT is out of order whatever was injected.
            tunnel.say(&format!("RCPT TO:<{BOB}>"));
            let reply = tunnel.line();
            assert!(reply.starts_with("503 "), "{listener}, {extra:?}: {reply}");
            tunnel.say("QUIT");
            assert!(tunnel.line().starts_with("221 "), "{listener}, {extra:?}");
        }
    }
    assert!(world.mailbox(BOB).is_empty());
}

#[test]
fn commands_behind_stls_are_never_acted_on() {
    let world = World::closed();
    for extra in [
        format!("USER {ANN}\r\nPASS {PASSWORD}\r\nSTAT\r\n"),
        format!("USER {ANN}\r\n"),
        format!("CAPA\r\nUSER {ANN}"),
    ] {
        let through = meddler(world.local("pop3"), extra.clone());
        let mut tunnel = Tunnel::open(through, Start::Pop3, &world.ca);
        tunnel.say(&format!("PASS {PASSWORD}"));
        let reply = tunnel.line();
        assert!(reply.starts_with("-ERR say USER first"), "{extra:?}: {reply}");
        tunnel.say("QUIT");
        assert_eq!(tunnel.line(), "+OK bye", "{extra:?}");
        assert!(tunnel.rest().is_empty(), "{extra:?}");
    }
}

#[test]
fn a_failed_handshake_ends_that_session_only() {
    let world = World::closed();
    for (listener, ask) in [("pop3", "STLS"), ("submission", "STARTTLS"), ("pop3s", ""), ("submissions", "")]
    {
        let mut line = Line::connect(world.local(listener));
        if listener == "submission" {
            line = Smtp::open(world.local(listener)).line;
        } else if !ask.is_empty() {
            line.line();
        }
        if !ask.is_empty() {
            line.say(ask);
            line.line();
        }
        line.send(b"this is not a ClientHello\r\n\r\n");
        // At most an alert comes back, and nothing in clear.
        let rest = line.rest();
        assert!(
            rest.len() < 100 && !rest.starts_with(b"+OK") && !rest.starts_with(b"2"),
            "{listener}: {rest:?}"
        );
        world.server.wait_for_log(&["TLS handshake failed"]);
    }
    assert!(world.mailbox(BOB).is_empty(), "the server serves");
}
