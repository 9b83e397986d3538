//! The server of these tests: a development certificate, every listener, and two accounts.

use crate::support::wire::Pop3;
use crate::support::{Home, Server};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

pub(crate) const ANN: &str = "ann@example.org";
pub(crate) const BOB: &str = "bob@example.org";
/// With a space and a letter that is not ASCII, which every layer must leave alone.
pub(crate) const PASSWORD: &str = "a sécret";

/// What a listener is for, as its key in `[listen]`.
const LISTENERS: [&str; 5] = ["smtp", "submission", "submissions", "pop3", "pop3s"];

/// A running server, and what its clients need to know.
pub(crate) struct World {
    pub(crate) home: Home,
    pub(crate) server: Server,
    /// The certificate that clients are told to trust.
    pub(crate) ca: PathBuf,
}

impl World {
    /// On loopback, with accounts.
    pub(crate) fn closed() -> World {
        World::new(&[("accounts.mode", "closed"), ("accounts.domains", "example.org")])
    }

    /// With more settings.
    pub(crate) fn new(settings: &[(&str, &str)]) -> World {
        // A listener that needs a certificate is refused until there is one.
        let (listeners, others): (Vec<_>, Vec<_>) =
            settings.iter().copied().partition(|(key, _)| key.starts_with("listen."));
        let mut home = Home::new(&others);
        if settings.contains(&("accounts.mode", "closed")) {
            for account in [ANN, BOB] {
                home.succeed(&["account", "add", account, "--password-stdin"], PASSWORD);
            }
        }
        let ca = certify(&mut home);
        for listener in LISTENERS {
            home.set(&format!("listen.{listener}"), "127.0.0.1:0");
        }
        for (listener, places) in listeners {
            home.set(listener, places);
        }
        let server = home.serve();
        World { home, server, ca }
    }

    /// On all addresses of this machine, so that a client can come from one that is not loopback.
    pub(crate) fn on_network(settings: &[(&str, &str)]) -> World {
        let mut all = settings.to_vec();
        let keys = LISTENERS.map(|name| format!("listen.{name}"));
        all.extend(keys.iter().map(|key| (key.as_str(), "0.0.0.0:0")));
        World::new(&all)
    }

    /// The port of a listener.
    pub(crate) fn port(&self, listener: &str) -> u16 {
        let address = self.server.address(listener);
        address.unwrap_or_else(|| panic!("{listener} is not in {:?}", self.server.ready)).port()
    }

    /// A listener, from loopback.
    pub(crate) fn local(&self, listener: &str) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port(listener)))
    }

    /// `localhost:port`, for clients that check the name in the certificate.
    pub(crate) fn named(&self, listener: &str) -> String {
        format!("localhost:{}", self.port(listener))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The messages of an account, over plain POP3 on loopback.
    pub(crate) fn mailbox(&self, account: &str) -> Vec<String> {
        let mut pop3 = Pop3::open(self.local("pop3"), account, PASSWORD);
        let messages = pop3.all();
        pop3.ok("QUIT");
        messages.into_iter().map(|octets| String::from_utf8_lossy(&octets).into_owned()).collect()
    }
}

/// Makes a certificate by `tls dev`, and sets the two lines of configuration that it prints. Returns
/// the certificate to trust.
fn certify(home: &mut Home) -> PathBuf {
    let printed = home.succeed(&["tls", "dev"], "");
    for key in ["certificate", "private_key"] {
        let value = printed.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
        });
        let value = value.unwrap_or_else(|| panic!("tls dev does not print {key}:\n{printed}"));
        home.set(&format!("tls.{key}"), &value);
    }
    let words = printed.split([' ', '\n', '\t', '"', '\'', '=', ',', '`']);
    let is_ca = |path: &&str| Path::new(path).file_name().is_some_and(|name| name == "ca.pem");
    let ca = words.into_iter().find(is_ca).unwrap_or_else(|| panic!("tls dev names no CA:\n{printed}"));
    home.path().join(ca)
}

/// An address of this machine that is not loopback. Nothing is sent to find it.
pub(crate) fn network_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // A documentation address: the system only says from where it would go there.
    let found = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    let address = found.expect("this test needs a network interface that is not loopback").ip();
    assert!(!address.is_loopback(), "this test needs a network interface that is not loopback");
    address
}
