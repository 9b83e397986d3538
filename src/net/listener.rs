//! Accepting connections: limits, refusals, and patience with a system that has no room.

use super::conn::{Conn, Ending};
use super::stream::Stream;
use crate::mail::peer::{Origin, Peer};
use socket2::{SockRef, TcpKeepalive};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long the first pause after a failed accept is; each further one doubles, up to a second.
const BACK_OFF_FIRST: Duration = Duration::from_millis(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// How long a peer may be silent before the kernel asks it for a sign of life, and how often it asks then.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);

/// Octets that the kernel takes from us ahead of what it may send: by what it takes a slow peer is known to
/// be alive, and without a bound that may be megabytes at once.
const UNSENT_OCTETS_MAX: u32 = 128 * 1024;

/// Refused connections are told in the log once in this time, however many there are: whoever
/// knocks in a loop must not fill the disk.
const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(1);

/// A bound socket that accepts connections.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP address.
    Tcp(TcpListener),
    /// On a unix socket.
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                prepare(&stream);
                Ok((Stream::Tcp(stream), Peer::tcp(address)))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }
}

/// Tells the kernel how to treat a connection. It only helps: what a system cannot do is left out, and a peer
/// that is gone already is found out by its session.
fn prepare(stream: &TcpStream) {
    let options = SockRef::from(stream);
    // Replies leave when they are complete; Nagle's rule would only hold them back.
    let _ = options.set_tcp_nodelay(true);
    // Lets the kernel find out that a peer has vanished: without it a session whose client lost its
    // network would hold its place for the whole timeout.
    let often = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    let _ = options.set_tcp_keepalive(&often);
    let _ = options.set_tcp_notsent_lowat(UNSENT_OCTETS_MAX);
}

/// How many connections there may be, over all listeners together.
#[derive(Clone, Debug)]
pub struct Limits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connections_max: usize,
    connections_per_ip_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    /// An IPv6 network counts as one address: whoever has one has all of its addresses.
    by_origin: HashMap<Origin, usize>,
}

/// Which limit a connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `limits.connections`
    Connections,
    /// `limits.connections_per_ip`
    ConnectionsPerIp,
}

impl Refusal {
    /// The key of the limit, for the log.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Refusal::Connections => "limits.connections",
            Refusal::ConnectionsPerIp => "limits.connections_per_ip",
        }
    }
}

/// The place that one connection takes up; dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    shared: Arc<Shared>,
    origin: Option<Origin>,
}

impl Limits {
    /// Limits on all connections and on those of one address.
    #[must_use]
    pub fn new(connections_max: usize, connections_per_ip_max: usize) -> Limits {
        let open = Mutex::default();
        Limits { shared: Arc::new(Shared { connections_max, connections_per_ip_max, open }) }
    }

    /// Takes a place for a connection from `peer`.
    ///
    /// # Errors
    /// The [`Refusal`] when there is none left.
    pub fn admit(&self, peer: &Peer) -> Result<Place, Refusal> {
        let origin = peer.ip().map(Origin::of);
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.shared.connections_max {
            return Err(Refusal::Connections);
        }
        if let Some(origin) = origin {
            let of_origin = open.by_origin.entry(origin).or_default();
            if *of_origin >= self.shared.connections_per_ip_max {
                return Err(Refusal::ConnectionsPerIp);
            }
            *of_origin += 1;
        }
        open.all += 1;
        Ok(Place { shared: self.shared.clone(), origin })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        let Some(origin) = self.origin else { return };
        if let Some(of_origin) = open.by_origin.get_mut(&origin) {
            *of_origin = of_origin.saturating_sub(1);
            if *of_origin == 0 {
                open.by_origin.remove(&origin);
            }
        }
    }
}

/// Which refusals the log is told of.
#[derive(Debug, Default)]
struct Refusals {
    told: Option<Instant>,
    since: u64,
}

impl Refusals {
    /// Counts one more. When it is time to tell of it: how many there were that nobody was told of.
    fn one_more(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < REFUSALS_TOLD_EVERY) {
            self.since += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// Accepts on `listener` until `ending.stop`, and runs `session` for each connection on `sessions`.
/// A connection over the limits is told `refusal` and closed, without a task or a wait; where TLS
/// begins with the first octet there are no words for it, and it is only closed.
pub async fn run<F, S>(
    listener: Listener,
    limits: Limits,
    ending: Ending,
    sessions: TaskTracker,
    refusal: Option<&'static [u8]>,
    session: F,
) where
    F: Fn(Conn, Peer) -> S,
    S: Future<Output = ()> + Send + 'static,
{
    let mut back_off = BACK_OFF_FIRST;
    let mut refusals = Refusals::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = ending.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or a peer that left already: it passes, and turning in a
                // circle would not help it.
                warn!(%error, pause_ms = back_off.as_millis(), "cannot accept a connection, will try again");
                tokio::select! {
                    () = ending.stop.cancelled() => return,
                    () = tokio::time::sleep(back_off) => {}
                }
                back_off = (back_off * 2).min(BACK_OFF_MAX);
                continue;
            }
        };
        back_off = BACK_OFF_FIRST;
        match limits.admit(&peer) {
            Ok(place) => {
                let session = session(Conn::new(stream, ending.clone()), peer);
                sessions.spawn(async move {
                    session.await;
                    drop(place);
                });
            }
            Err(limit) => {
                if let Some(untold) = refusals.one_more(Instant::now()) {
                    warn!(%peer, limit = limit.key(), untold, "connection refused: too many");
                }
                if let Some(refusal) = refusal {
                    // Best effort: nobody waits for a peer that is being turned away.
                    let _ = stream.try_write(refusal);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_sends_at_once_and_finds_out_that_its_peer_has_vanished() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let listener = Listener::Tcp(socket);
        let (Stream::Tcp(stream), _) = listener.accept().await.unwrap() else { panic!("not of TCP") };
        let options = SockRef::from(&stream);
        assert!(options.tcp_nodelay().unwrap());
        assert!(options.keepalive().unwrap());
        assert_eq!(options.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
        assert_eq!(options.tcp_keepalive_interval().unwrap(), KEEPALIVE_EVERY);
        assert_eq!(options.tcp_notsent_lowat().unwrap(), UNSENT_OCTETS_MAX);
    }

    #[test]
    fn an_ipv6_network_has_the_places_of_one_address() {
        let limits = Limits::new(100, 2);
        let peer = |text: &str| Peer::tcp(text.parse().unwrap());
        let first = limits.admit(&peer("[2001:db8:0:1::1]:1")).unwrap();
        let _second = limits.admit(&peer("[2001:db8:0:1::2]:1")).unwrap();
        let third = peer("[2001:db8:0:1:ffff::3]:1");
        assert_eq!(limits.admit(&third).unwrap_err(), Refusal::ConnectionsPerIp);
        assert!(limits.admit(&peer("[2001:db8:0:2::1]:1")).is_ok());
        drop(first);
        assert!(limits.admit(&third).is_ok());
    }

    #[test]
    fn a_flood_of_refusals_is_told_once_a_second_with_its_count() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        let told = [0, 0, 999, 1_000, 1_001, 5_000]
            .map(|millis| refusals.one_more(start + Duration::from_millis(millis)));
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
