//! One connection as a driver sees it: frames in, a buffer out, and every wait bounded.
//!
//! The flush rule is here and nowhere else: what was said leaves when no whole frame is waiting, or
//! when the buffer is full.

use super::stream::Stream;
use super::tls::{self, Keys};
use crate::mail::peer::TlsInfo;
use bytes::BytesMut;
use std::io;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::Decoder;
use tokio_util::sync::CancellationToken;

/// What the buffer for one reading can take while commands are read, in octets.
const COMMAND_READ_OCTETS: usize = 2 * 1024;
/// The same while a message is read.
const BULK_READ_OCTETS: usize = 32 * 1024;
/// Octets in the way out that make a driver wait for the peer.
pub const OUTPUT_OCTETS_MAX: usize = 32 * 1024;
/// Frames in a row after which others get their turn: a peer that always has more to say must not keep
/// a thread of the server to itself.
const FRAMES_IN_A_ROW: u32 = 16;
/// How long a peer may take from the greeting to a login where it can do nothing without one, as
/// Dovecot has it. Each command begins the wait for the next anew, so that a peer which says something
/// harmless now and then would keep its place for ever.
pub const LOGIN_PATIENCE: Duration = Duration::from_secs(180);
/// How long a handshake under way may still take when the server stops.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(2);
/// How long, and for how many octets, a closed connection is listened to so that the peer can read
/// the last reply: closing with unread input would make the kernel throw that reply away.
const LINGER: Duration = Duration::from_secs(1);
/// The same when the server stops: enough for a reply to arrive, and a stop takes less than a second.
const LINGER_STOPPING: Duration = Duration::from_millis(250);
const LINGER_OCTETS_MAX: usize = 256 * 1024;

/// The end of the program as a connection sees it.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// The server is stopping: a session that waits for a command says goodbye.
    pub stop: CancellationToken,
    /// The time for orderly ends is over: whatever is under way is cut.
    pub cut: CancellationToken,
}

/// Whether a wait is between commands, where a session may be ended, or within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// For a command: a stopping server ends the session here.
    Command,
    /// For the rest of a message: a stopping server lets it finish.
    Message,
}

/// How a wait for a frame ended.
#[derive(Debug)]
pub enum Got<F> {
    /// With a frame.
    Frame(F),
    /// The time was over.
    TimedOut,
    /// The server is stopping.
    Stop,
}

/// Why a connection is over. None of these is a fault of this server.
#[derive(Debug, Error)]
pub enum ConnError {
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Gone,
    /// The network failed.
    #[error("connection lost: {0}")]
    Io(#[from] io::Error),
    /// The peer did not take what was sent in time.
    #[error("the peer stopped reading")]
    Stuck,
    /// The server ended before the session did.
    #[error("cut at the end of the server")]
    Cut,
    /// The peer and this server could not agree on TLS.
    #[error("TLS handshake failed: {0}")]
    Handshake(io::Error),
}

/// A connection. Dropping it closes the socket.
#[derive(Debug)]
pub struct Conn {
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
    /// Something has come, and nothing was said since.
    is_unconfirmed: bool,
    ending: Ending,
    /// Frames since others had their turn.
    frames: u32,
    login_patience: Duration,
    /// When no wait goes on, for want of a login.
    login_by: Option<Instant>,
}

impl Conn {
    /// Takes a stream over.
    #[must_use]
    pub fn new(stream: Stream, ending: Ending) -> Conn {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Conn {
            stream,
            input,
            output,
            is_unconfirmed: false,
            ending,
            frames: 0,
            login_patience: LOGIN_PATIENCE,
            login_by: None,
        }
    }

    /// The same with another patience than [`LOGIN_PATIENCE`], for tests.
    #[must_use]
    pub fn with_login_patience(self, login_patience: Duration) -> Conn {
        Conn { login_patience, ..self }
    }

    /// From now on the peer has to log in: all waits together end with [`LOGIN_PATIENCE`], whatever it
    /// says meanwhile and whether or not TLS begins.
    pub fn await_login(&mut self) {
        self.login_by = Some(Instant::now() + self.login_patience);
    }

    /// The peer has logged in, and may take its time.
    pub fn logged_in(&mut self) {
        self.login_by = None;
    }

    /// What is left of `patience`.
    fn left(&self, patience: Duration) -> Duration {
        let left = |by: Instant| patience.min(by.saturating_duration_since(Instant::now()));
        self.login_by.map_or(patience, left)
    }

    /// Sends what is waiting and begins TLS. Octets that came before the handshake are thrown away:
    /// whoever is on the way may have put them there. Each of the two may take `patience`; a server
    /// that stops does not wait for handshakes.
    ///
    /// # Errors
    /// [`ConnError`] when the connection is over; after it nothing can be sent any more.
    pub async fn secure(&mut self, keys: &Keys, patience: Duration) -> Result<TlsInfo, ConnError> {
        self.flush(patience).await?;
        self.input = BytesMut::new();
        let patience = self.left(patience);
        let stream = std::mem::replace(&mut self.stream, Stream::Closed);
        let ending = self.ending.clone();
        let stop = async {
            ending.stop.cancelled().await;
            sleep(HANDSHAKE_GRACE).await;
        };
        let done = tokio::select! {
            biased;
            () = ending.cut.cancelled() => return Err(ConnError::Cut),
            () = stop => return Err(ConnError::Cut),
            done = timeout(patience, tls::handshake(stream, keys)) => done,
        };
        match done {
            Ok(Ok((stream, info))) => {
                self.stream = stream;
                Ok(info)
            }
            Ok(Err((reason, stream))) => {
                // The alert tells the peer what was wrong, if it gets to read it.
                self.stream = stream;
                self.part(patience).await;
                self.stream = Stream::Closed;
                Err(ConnError::Handshake(reason))
            }
            Err(_) => Err(ConnError::Handshake(io::ErrorKind::TimedOut.into())),
        }
    }

    /// What is to be sent; filled by the driver, sent by the flush rule.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Waits for the next frame of `codec`, for `patience` at most from now until it is whole, and no
    /// longer than until the peer has to have logged in.
    ///
    /// # Errors
    /// [`ConnError`] when the connection is over.
    pub async fn frame<C>(
        &mut self,
        codec: &mut C,
        waiting: Waiting,
        patience: Duration,
    ) -> Result<Got<C::Item>, ConnError>
    where
        C: Decoder<Error = io::Error>,
    {
        if waiting == Waiting::Command && self.ending.stop.is_cancelled() {
            return Ok(Got::Stop);
        }
        let patience = self.left(patience);
        // Not left to the wait below: there is none for a peer that always has something more to say.
        if patience.is_zero() && self.login_by.is_some() {
            return Ok(Got::TimedOut);
        }
        self.frames += 1;
        if self.frames >= FRAMES_IN_A_ROW {
            self.frames = 0;
            tokio::task::yield_now().await;
        }
        if let Some(frame) = codec.decode(&mut self.input)? {
            return Ok(Got::Frame(frame));
        }
        // RFC 2920 §3.2: the replies to a pipelined group of commands leave together, and none of them
        // waits once all that has come is answered.
        self.flush(patience).await?;
        let ending = self.ending.clone();
        let stop = async {
            match waiting {
                Waiting::Command => ending.stop.cancelled().await,
                Waiting::Message => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ending.cut.cancelled() => Err(ConnError::Cut),
            () = stop => Ok(Got::Stop),
            got = timeout(patience, self.read_frame(codec, waiting)) => match got {
                Ok(frame) => frame.map(Got::Frame),
                Err(_) => Ok(Got::TimedOut),
            },
        }
    }

    async fn read_frame<C>(&mut self, codec: &mut C, waiting: Waiting) -> Result<C::Item, ConnError>
    where
        C: Decoder<Error = io::Error>,
    {
        loop {
            match waiting {
                Waiting::Message => self.input.reserve(BULK_READ_OCTETS),
                Waiting::Command => {
                    self.shrink();
                    self.input.reserve(COMMAND_READ_OCTETS / 2);
                }
            }
            // A peer that sends by Nagle's rule waits for the kernel to confirm what has come, and the kernel
            // waits for words of ours that could carry that: 40 ms for each message.
            if std::mem::take(&mut self.is_unconfirmed) {
                self.stream.confirm();
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return Err(ConnError::Gone),
                Ok(_) => self.is_unconfirmed = true,
                // TLS whose end was not announced: it may have been cut by somebody on the way.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(ConnError::Gone),
                Err(error) => return Err(error.into()),
            }
            if let Some(frame) = codec.decode(&mut self.input)? {
                return Ok(frame);
            }
        }
    }

    /// A session that waits for a command keeps no buffer that a message has made large.
    fn shrink(&mut self) {
        if self.input.is_empty() && self.input.capacity() > COMMAND_READ_OCTETS {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() && self.output.capacity() > COMMAND_READ_OCTETS {
            self.output = BytesMut::new();
        }
    }

    /// Sends what is waiting if it is a lot; the backpressure of everything long.
    ///
    /// # Errors
    /// [`ConnError`] when the connection is over.
    pub async fn relieve(&mut self, patience: Duration) -> Result<(), ConnError> {
        if self.output.len() < OUTPUT_OCTETS_MAX { Ok(()) } else { self.flush(patience).await }
    }

    /// Sends all that is waiting. The peer may take `patience` for each piece of it.
    ///
    /// # Errors
    /// [`ConnError`] when the connection is over.
    pub async fn flush(&mut self, patience: Duration) -> Result<(), ConnError> {
        while !self.output.is_empty() {
            self.send_some(patience).await?;
        }
        // TLS may have taken what the network has not.
        let patience = self.left(patience);
        let sent = tokio::select! {
            biased;
            () = self.ending.cut.cancelled() => return Err(ConnError::Cut),
            sent = timeout(patience, self.stream.flush()) => sent,
        };
        Ok(sent.map_err(|_| ConnError::Stuck)??)
    }

    /// Sends as much of what is waiting as the peer takes at once: a sign of life of a slow peer.
    ///
    /// # Errors
    /// [`ConnError`] when the connection is over.
    pub async fn send_some(&mut self, patience: Duration) -> Result<(), ConnError> {
        let patience = self.left(patience);
        let sent = tokio::select! {
            biased;
            () = self.ending.cut.cancelled() => return Err(ConnError::Cut),
            sent = timeout(patience, self.stream.write_buf(&mut self.output)) => sent,
        };
        match sent {
            Ok(Ok(0)) => Err(ConnError::Gone),
            Ok(Ok(_)) => {
                self.is_unconfirmed = false;
                Ok(())
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(ConnError::Stuck),
        }
    }

    /// Sends what is waiting and closes, in a way that lets the peer read it.
    ///
    /// # Errors
    /// [`ConnError`] when the connection was over before.
    pub async fn close(mut self, patience: Duration) -> Result<(), ConnError> {
        // The last words have a time of their own.
        self.login_by = None;
        self.flush(patience).await?;
        self.part(patience).await;
        Ok(())
    }

    /// Ends the way out, TLS with its closing alert, and listens for a while to a peer that may not
    /// have read all of it. It is over whatever comes of that.
    async fn part(&mut self, patience: Duration) {
        let linger = async {
            if !matches!(timeout(patience, self.stream.shutdown()).await, Ok(Ok(()))) {
                return;
            }
            let swallow = async {
                let mut swallowed = 0;
                while swallowed < LINGER_OCTETS_MAX {
                    self.input.clear();
                    self.input.reserve(COMMAND_READ_OCTETS);
                    match self.stream.read_buf(&mut self.input).await {
                        Ok(n) if n > 0 => swallowed += n,
                        _ => break,
                    }
                }
            };
            let stopping = async {
                self.ending.stop.cancelled().await;
                sleep(LINGER_STOPPING).await;
            };
            tokio::select! {
                () = swallow => {}
                () = stopping => {}
                () = sleep(LINGER) => {}
            }
        };
        tokio::select! {
            () = self.ending.cut.cancelled() => {}
            () = linger => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::cell::Cell;
    use std::io::Write as _;
    use std::rc::Rc;
    use tokio::net::{TcpListener, TcpStream, UnixStream};
    use tokio::task::LocalSet;

    /// Each octet is a frame.
    struct Octets;

    impl Decoder for Octets {
        type Item = u8;
        type Error = io::Error;

        fn decode(&mut self, input: &mut BytesMut) -> io::Result<Option<u8>> {
            Ok((!input.is_empty()).then(|| input.split_to(1)[0]))
        }
    }

    #[tokio::test]
    async fn a_peer_that_always_has_more_to_say_leaves_the_others_their_turn() {
        const FRAMES: u32 = 1_000;
        let (mut peer, ours) = std::os::unix::net::UnixStream::pair().unwrap();
        peer.write_all(&[0; FRAMES as usize]).unwrap();
        ours.set_nonblocking(true).unwrap();
        let stream = Stream::Unix(UnixStream::from_std(ours).unwrap());
        let turns = Rc::new(Cell::new(0));
        let local = LocalSet::new();
        let counted = turns.clone();
        local.spawn_local(async move {
            loop {
                counted.set(counted.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        let talk = async {
            let mut conn = Conn::new(stream, Ending::default());
            for _ in 0..FRAMES {
                let got = conn.frame(&mut Octets, Waiting::Command, Duration::from_secs(60)).await;
                assert!(matches!(got, Ok(Got::Frame(0))));
            }
        };
        local.run_until(talk).await;
        assert!(turns.get() >= FRAMES / 20, "{} turns", turns.get());
    }

    /// Two octets are a frame.
    struct Pairs;

    impl Decoder for Pairs {
        type Item = BytesMut;
        type Error = io::Error;

        fn decode(&mut self, input: &mut BytesMut) -> io::Result<Option<BytesMut>> {
            Ok((input.len() > 1).then(|| input.split_to(2)))
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_comes_in_parts_is_confirmed_before_there_is_an_answer() {
        let patience = Duration::from_secs(60);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let ours = listener.accept().await.unwrap().0.into_std().unwrap();
        let seen = ours.try_clone().unwrap();
        let is_confirmed = || SockRef::from(&seen).tcp_quickack().unwrap();
        let mut conn = Conn::new(Stream::Tcp(TcpStream::from_std(ours).unwrap()), Ending::default());
        // In a conversation the kernel learns that an answer always comes soon, and waits for it.
        while is_confirmed() {
            peer.write_all(b"ab").await.unwrap();
            conn.frame(&mut Pairs, Waiting::Command, patience).await.unwrap();
            conn.output().extend_from_slice(b"c");
            conn.flush(patience).await.unwrap();
            peer.read_u8().await.unwrap();
        }
        peer.write_all(b"a").await.unwrap();
        let is_there = || seen.peek(&mut [0]).is_ok();
        while !is_there() {}
        let taken = async {
            while is_there() {
                tokio::task::yield_now().await;
            }
        };
        let mut codec = Pairs;
        tokio::select! {
            got = conn.frame(&mut codec, Waiting::Message, patience) => panic!("it is half a frame: {got:?}"),
            () = taken => assert!(is_confirmed(), "at once and not after a while"),
        }
    }

    #[tokio::test]
    async fn a_stop_waits_less_for_a_peer_that_does_not_close() {
        let close = |ending: Ending| async {
            let (peer, ours) = UnixStream::pair().unwrap();
            Conn::new(Stream::Unix(ours), ending).close(Duration::from_secs(60)).await.unwrap();
            drop(peer);
        };
        let stopping = Ending::default();
        stopping.stop.cancel();
        tokio::select! {
            () = close(Ending::default()) => panic!("a server that goes on listens for longer"),
            () = close(stopping) => {}
        }
    }
}
