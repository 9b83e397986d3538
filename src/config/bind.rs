//! Where a listener listens: an address and port, or the path of a unix socket.

use super::fault::quoted;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Longest path of a unix socket in octets: what the system's address structure holds, less its NUL.
const UNIX_PATH_OCTETS_MAX: usize = 107;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A TCP address; port 0 lets the system choose one.
    Tcp(SocketAddr),
    /// A unix socket. Its path holds no white space and no comma, so that it can stand in lists.
    Unix(PathBuf),
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::Tcp(address) => address.fmt(f),
            Bind::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is no place to listen at: what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindError {
    /// What is wrong with it.
    pub wrong: String,
    /// What to write instead, as one item of a list.
    pub instead: String,
}

impl Bind {
    /// Reads `ADDRESS:PORT`, `[IPv6]:PORT` or `unix:PATH`. Names are not looked up. Advice names
    /// `usual_port` where the text has none.
    ///
    /// # Errors
    /// [`BindError`], with the text that was probably meant.
    pub fn parse(text: &str, usual_port: u16) -> Result<Bind, BindError> {
        let shown = quoted(text);
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path).map(Bind::Unix).map_err(|wrong| BindError {
                wrong: format!("{shown} {wrong}"),
                instead: "unix:/run/pillarbox/mail.sock".to_owned(),
            });
        }
        if let Ok(address) = text.parse() {
            return Ok(Bind::Tcp(address));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        let port_is_right = port.parse::<u16>().is_ok();
        let usual = usual_port.to_string();
        let port = if port_is_right { port } else { usual.as_str() };
        let bare = text.trim_matches(['[', ']']);
        let (wrong, instead) = match host {
            "localhost" => ("is a name, and a listener takes an address", format!("127.0.0.1:{port}")),
            "" | "*" => (
                "has no address",
                format!("127.0.0.1:{port} for this host alone, 0.0.0.0:{port} for every network of it"),
            ),
            _ if text.parse::<u16>().is_ok() => (
                "has no address",
                format!("127.0.0.1:{text} for this host alone, 0.0.0.0:{text} for every network of it"),
            ),
            _ if text.starts_with('/') => ("looks like a path", format!("unix:{text}")),
            _ if bare.parse::<std::net::Ipv6Addr>().is_ok() => ("has no port", format!("[{bare}]:{usual}")),
            _ if text.parse::<std::net::Ipv4Addr>().is_ok() => ("has no port", format!("{text}:{usual}")),
            _ if host.parse::<std::net::IpAddr>().is_ok() && !port_is_right => {
                ("has a port that is no number up to 65535", format!("{host}:{port}"))
            }
            _ => ("is no address and port", format!("127.0.0.1:{port}")),
        };
        Err(BindError { wrong: format!("{shown} {wrong}"), instead })
    }

    /// Whether only this host can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Bind::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Bind::Unix(_) => true,
        }
    }

    /// Whether two listeners cannot both have their place: the same one, or one that is a part of the
    /// other.
    #[must_use]
    pub fn clashes_with(&self, other: &Bind) -> bool {
        match (self, other) {
            (Bind::Unix(a), Bind::Unix(b)) => a == b,
            (Bind::Tcp(a), Bind::Tcp(b)) => {
                let (ip_a, ip_b) = (a.ip(), b.ip());
                let overlap = ip_a == ip_b
                    || ip_a.is_ipv4() == ip_b.is_ipv4() && (ip_a.is_unspecified() || ip_b.is_unspecified());
                a.port() == b.port() && a.port() != 0 && overlap
            }
            _ => false,
        }
    }
}

fn unix(path: &str) -> Result<PathBuf, &'static str> {
    if path.is_empty() {
        return Err("has no path");
    }
    if path.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',') {
        return Err("has white space or a comma in its path");
    }
    if path.len() > UNIX_PATH_OCTETS_MAX {
        return Err("is longer than the 107 octets that a unix socket's path may have");
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_unix_sockets_are_read_and_written_back() {
        for text in
            ["127.0.0.1:1025", "0.0.0.0:25", "[::1]:1025", "[::]:0", "unix:/run/p/smtp.sock", "unix:s"]
        {
            assert_eq!(Bind::parse(text, 1025).map(|b| b.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_cannot_be_listened_at_is_refused_with_what_was_meant() {
        for (text, instead) in [
            ("localhost:1025", "127.0.0.1:1025"),
            ("1025", "127.0.0.1:1025 for this host alone, 0.0.0.0:1025 for every network of it"),
            (":25", "127.0.0.1:25 for this host alone, 0.0.0.0:25 for every network of it"),
            ("*:25", "127.0.0.1:25 for this host alone, 0.0.0.0:25 for every network of it"),
            ("127.0.0.1", "127.0.0.1:1025"),
            ("::1", "[::1]:1025"),
            ("[::1]", "[::1]:1025"),
            ("127.0.0.1:99999", "127.0.0.1:1025"),
            ("mail.example.org:25", "127.0.0.1:25"),
            ("/run/p.sock", "unix:/run/p.sock"),
            ("unix:", "unix:/run/pillarbox/mail.sock"),
            ("unix:/a b", "unix:/run/pillarbox/mail.sock"),
            ("", "127.0.0.1:1025 for this host alone, 0.0.0.0:1025 for every network of it"),
        ] {
            assert_eq!(Bind::parse(text, 1025).map_err(|e| e.instead), Err(instead.to_owned()), "{text}");
        }
        assert!(Bind::parse(&format!("unix:/{}", "x".repeat(107)), 1).is_err());
    }

    #[test]
    fn loopback_in_every_form_and_unix_sockets_are_local() {
        for (text, local) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("unix:/s", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.0.2.1:1", false),
        ] {
            assert_eq!(Bind::parse(text, 1025).map(|b| b.is_local()), Ok(local), "{text}");
        }
    }

    #[test]
    fn a_place_clashes_with_itself_and_with_all_networks_of_its_kind() {
        for (a, b, clash) in [
            ("127.0.0.1:25", "127.0.0.1:25", true),
            ("127.0.0.1:25", "0.0.0.0:25", true),
            ("[::]:25", "[::1]:25", true),
            ("0.0.0.0:25", "[::]:25", false),
            ("127.0.0.1:25", "127.0.0.1:26", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
        ] {
            let (a, b) = (Bind::parse(a, 1).expect(a), Bind::parse(b, 1).expect(b));
            assert_eq!(a.clashes_with(&b), clash, "{a} {b}");
            assert_eq!(b.clashes_with(&a), clash, "{b} {a}");
        }
    }
}
