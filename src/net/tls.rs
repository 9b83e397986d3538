//! Certificates and keys: loaded, checked, and loaded again without dropping a session.

/// The certificate and key that new handshakes use. Cheap to clone; all clones see a reload.
#[derive(Clone, Debug)]
pub struct Keys {}

/// Where a password may cross the network without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaintextAuth {
    /// From this host itself: loopback and unix sockets.
    LocalOnly,
    /// From everywhere.
    Anywhere,
}

/// When TLS begins on a listener.
#[derive(Clone, Debug)]
pub enum Encryption {
    /// Never.
    Off,
    /// When the client asks: STARTTLS (RFC 3207), STLS (RFC 2595).
    OnRequest(Keys),
    /// From the first octet (RFC 8314).
    FromStart(Keys),
}
