//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Over TCP. An IPv4 address that came through an IPv6 socket is held as IPv4.
    Tcp(SocketAddr),
    /// Over a unix socket of this host.
    Unix,
}

impl Peer {
    /// A TCP peer, with a mapped IPv4 address turned back into IPv4.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Peer {
        Peer::Tcp(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// The address, where there is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Tcp(address) => Some(address.ip()),
            Peer::Unix => None,
        }
    }

    /// Whether the peer is this host itself: loopback or a unix socket.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Peer {
    /// The address without the port, as logs and fail2ban want it; `unix` for a unix socket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.ip().fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

/// Who counts as one where the peers of a network are counted. One customer has a whole /64 of IPv6 at
/// least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// One address.
    V4(Ipv4Addr),
    /// The first 64 bits of an address.
    V6Net([u8; 8]),
    /// The first 48 bits: what a provider gives to a site, and a tunnel broker to anybody.
    V6Site([u8; 6]),
}

impl fmt::Display for Origin {
    /// An address, or a network as `2001:db8::/64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::V4(ip) => ip.fmt(f),
            Origin::V6Net(net) => {
                let bits = u128::from(u64::from_be_bytes(*net)) << 64;
                write!(f, "{}/64", Ipv6Addr::from_bits(bits))
            }
            Origin::V6Site([a, b, c, d, e, g]) => {
                let address = Ipv6Addr::from([*a, *b, *c, *d, *e, *g, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                write!(f, "{address}/48")
            }
        }
    }
}

impl Origin {
    /// That of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Origin {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Origin::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Origin::V6Net([a, b, c, d, e, f, g, h])
            }
        }
    }

    /// The site of an IPv6 address.
    #[must_use]
    pub fn site_of(ip: IpAddr) -> Option<Origin> {
        match ip.to_canonical() {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                Some(Origin::V6Site([a, b, c, d, e, f]))
            }
        }
    }
}

/// What protects the octets between a peer and this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Nothing: whoever is on the way can read and change them.
    Plain,
    /// TLS.
    Tls(TlsInfo),
}

impl Security {
    /// The version of TLS, or `none`; for the log.
    #[must_use]
    pub fn version(&self) -> &str {
        match self {
            Security::Plain => "none",
            Security::Tls(tls) => &tls.version,
        }
    }

    /// The suite of TLS, where there is TLS.
    #[must_use]
    pub fn cipher(&self) -> Option<&str> {
        match self {
            Security::Plain => None,
            Security::Tls(tls) => Some(&tls.cipher),
        }
    }
}

/// A finished TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// Such as `TLSv1.3`.
    pub version: Box<str>,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: Box<str>,
    /// The channel binding `tls-exporter` (RFC 9266); `None` where it is not unique to the connection.
    pub exporter: Option<[u8; 32]>,
}
