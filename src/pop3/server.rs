//! The driver: carries bytes and questions between one session, its socket and the store.
//!
//! It decides nothing. What it must keep: the mailbox is held as long as the `maildrop` of the driver is
//! there; a future of the store is never raced against anything; waits for the peer, and only
//! those, also end when another session takes the mailbox over.

use super::codec::{Awaiting, Lines, Outgoing, Part, Wants};
use super::offer::{Expiry, Offer};
use super::pages::{Pages, Progress};
use super::reply::Reply;
use super::session::{Answer, Ask, Event, Next, Payload, Refusal, Session, Step};
use crate::auth::outcome::Login;
use crate::auth::{self, Auth, Caller, Purpose};
use crate::mail::ids::MessageId;
use crate::mail::listing::{Entry, Listing};
use crate::mail::peer::{Peer, Security};
use crate::net::conn::{Conn, ConnError, Got, OUTPUT_OCTETS_MAX, Waiting};
use crate::net::tls::{Encryption, Keys};
use crate::store::Store;
use crate::store::maildrop::Maildrop;
use crate::store::outcome::{Error, Expunged};
use crate::wire::access::{Access, PlaintextAuth};
use crate::wire::line::Line;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::{Instrument, debug, error, info, info_span};

/// How long a peer may take for each piece of the last words.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a peer may take for a handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(30);
/// Octets of a message that are stuffed at once: so much more than its bound may be in the output.
const PIECE_OCTETS: usize = OUTPUT_OCTETS_MAX / 4;

/// Numbers the sessions of this process, for the log.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// What all POP3 sessions share.
#[derive(Clone, Debug)]
pub struct Context {
    /// What this host is called in greetings.
    pub hostname: Box<str>,
    /// The mail.
    pub store: Store,
    /// Who may read it.
    pub auth: Auth,
    /// When TLS begins.
    pub encryption: Encryption,
    /// Where a login may do without TLS; in open mode, whose passwords mean nothing, everywhere.
    pub plaintext_auth: PlaintextAuth,
    /// How long a session waits for a command, and for the peer to take what it is sent. For a login it
    /// waits no longer than [`crate::net::conn::LOGIN_PATIENCE`] in all.
    pub timeout: Duration,
    /// How long messages are kept, for CAPA.
    pub expiry: Expiry,
}

/// Why a session ended before its QUIT. Nothing was deleted.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Conn(#[from] ConnError),
    /// Only silence is left in the middle of a message.
    #[error("another session has taken the mailbox over")]
    Evicted,
    /// The peer must not take a part of a message for the whole.
    #[error("cut within message {0:?}: {1}")]
    Torn(MessageId, Error),
    #[error("TLS was asked for where there are no keys")]
    NoKeys,
    #[error("cut within message {id:?}: the store has {found} octets of {promised}")]
    Short { id: MessageId, found: u64, promised: u64 },
}

/// A session that came to its close.
struct Parting {
    /// Why, for the log.
    reason: &'static str,
    /// How long the peer may take for each piece of what has not gone out yet.
    patience: Duration,
}

/// What a session did, for the log.
#[derive(Debug, Default)]
struct Tally {
    logins: u32,
    retrieved: u64,
    deleted: usize,
}

/// Serves one connection from the greeting to its end.
pub async fn serve(conn: Conn, peer: Peer, context: Arc<Context>) {
    let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
    let span = info_span!("pop3", session, %peer);
    async move {
        // Replaced by that of the connection before the first word is said.
        let (session, _) = Session::new(Offer::default(), &context.hostname);
        let tally = Tally::default();
        let mut driver =
            Driver { lines: Lines::default(), session, maildrop: None, peer, context, tally, conn };
        let ended = driver.run().await;
        // The next session need not wait until this peer has read its last words.
        driver.maildrop = None;
        let Driver { conn, tally, .. } = driver;
        let ended = match ended {
            Ok(Parting { reason, patience }) => {
                conn.close(patience).await.map(|()| reason).map_err(End::from)
            }
            Err(end) => Err(end),
        };
        let Tally { logins, retrieved, deleted } = tally;
        let is_handshake = matches!(ended, Err(End::Conn(ConnError::Handshake(_))));
        let reason = match ended {
            Ok(reason) => reason.to_owned(),
            Err(end @ (End::Torn(..) | End::Short { .. })) => {
                return error!(retrieved, deleted, reason = end.to_string(), "session cut");
            }
            Err(end) => end.to_string(),
        };
        // Health checks come and go every few seconds, and open no mailbox.
        if logins == 0 && !is_handshake {
            debug!(reason, "session ended without a login");
        } else {
            info!(retrieved, deleted, reason, "session ended");
        }
    }
    .instrument(span)
    .await;
}

struct Driver {
    conn: Conn,
    lines: Lines,
    session: Session,
    /// The open mailbox and its lease.
    maildrop: Option<Maildrop>,
    peer: Peer,
    context: Arc<Context>,
    tally: Tally,
}

/// What came instead of, or as, a command: owned, since the event borrows from it.
enum Heard {
    Line(Line),
    Idle,
    Evicted,
    Stop,
}

impl Heard {
    fn event(&self) -> Event<'_> {
        match self {
            Heard::Line(Line::Whole(line)) => Event::Line(line),
            Heard::Line(Line::TooLong) => Event::LineTooLong,
            Heard::Line(Line::BareNewline) => Event::BareNewline,
            Heard::Idle => Event::Idle,
            Heard::Evicted => Event::Evicted,
            Heard::Stop => Event::Stop,
        }
    }

    /// What ends a session that its client did not end, for the log.
    fn interruption(&self) -> Option<&'static str> {
        match self {
            Heard::Line(_) => None,
            Heard::Idle => Some("no command, or no login, for too long"),
            Heard::Evicted => Some("another session has taken the mailbox over"),
            Heard::Stop => Some("the server is stopping"),
        }
    }
}

impl Driver {
    /// Runs the session until it wants to close.
    async fn run(&mut self) -> Result<Parting, End> {
        let security = match self.context.encryption.clone() {
            // RFC 8314 §3.2: TLS begins with the connection, before the greeting.
            Encryption::FromStart(keys) => self.secure(&keys).await?,
            Encryption::Off | Encryption::OnRequest(_) => Security::Plain,
        };
        if self.context.auth.is_blocked(&self.peer) {
            let parting = self.parting("too many failed logins from this address");
            self.say(Some(Reply::BLOCKED));
            return Ok(parting);
        }
        let (session, greeting) = Session::new(self.offer(security), &self.context.hostname);
        self.session = session;
        self.conn.await_login();
        let mut interruption = None;
        let mut step = Step { say: Some(greeting), next: Next::Read(Awaiting::Command) };
        loop {
            step = match step.next {
                Next::Read(awaiting) => {
                    self.say(step.say);
                    self.lines.expect(awaiting);
                    let heard = self.hear().await?;
                    interruption = heard.interruption();
                    self.session.step(heard.event())
                }
                Next::Send(payload) => {
                    let event = self.send(step.say, payload).await?;
                    self.session.step(event)
                }
                Next::Ask(ask) => {
                    self.say(step.say);
                    if matches!(&ask, Ask::Update(ids) if !ids.is_empty()) {
                        self.send_all().await?;
                    }
                    let answer = self.resolve(ask).await;
                    self.session.step(Event::Answer(answer))
                }
                Next::StartTls => {
                    self.say(step.say);
                    let offer = self.start_tls().await?;
                    self.session.step(Event::Secured(offer))
                }
                Next::Close => {
                    let quit = step.say.as_ref().is_some_and(Reply::is_ok);
                    let reason = interruption.unwrap_or(if quit { "quit" } else { "refused" });
                    let parting = self.parting(reason);
                    self.say(step.say);
                    return Ok(parting);
                }
            };
        }
    }

    /// Before the last words are said. What was said before them may be the rest of a message, for which a
    /// peer has as long as for any; one that never logged in has been sent none.
    fn parting(&mut self, reason: &'static str) -> Parting {
        let timeout = self.context.timeout;
        let is_message = self.tally.logins > 0 && !self.conn.output().is_empty();
        let patience = if is_message { timeout } else { CLOSE_PATIENCE.min(timeout) };
        Parting { reason, patience }
    }

    /// What can be done under `security`.
    fn offer(&self, security: Security) -> Offer {
        let Context { auth, encryption, plaintext_auth, expiry, .. } = &*self.context;
        let access = Access {
            start_tls: encryption.start_tls(),
            plaintext: plaintext_auth.towards(&self.peer),
            mechanisms: auth.mechanisms(&security).into(),
            strictness: auth.strictness(),
            security,
        };
        Offer { expiry: *expiry, access }
    }

    async fn start_tls(&mut self) -> Result<Offer, End> {
        let Encryption::OnRequest(keys) = self.context.encryption.clone() else {
            return Err(End::NoKeys);
        };
        let security = self.secure(&keys).await?;
        // RFC 2595 §4: nothing that came before the handshake counts after it, half lines included.
        self.lines = Lines::default();
        Ok(self.offer(security))
    }

    async fn secure(&mut self, keys: &Keys) -> Result<Security, End> {
        let info = self.conn.secure(keys, HANDSHAKE_PATIENCE.min(self.context.timeout)).await?;
        debug!(version = %info.version, cipher = %info.cipher, "encrypted");
        Ok(Security::Tls(info))
    }

    fn say(&mut self, reply: Option<Reply>) {
        if let Some(reply) = reply {
            reply.encode(self.conn.output());
        }
    }

    /// Waits for a command.
    async fn hear(&mut self) -> Result<Heard, End> {
        let Driver { conn, lines, maildrop, context, .. } = self;
        let frame = async {
            // Many small commands at once have answers that are many times larger.
            conn.relieve(context.timeout).await?;
            conn.frame(lines, Waiting::Command, context.timeout).await
        };
        let Some(got) = unless_evicted(maildrop.as_ref(), frame).await else {
            return Ok(Heard::Evicted);
        };
        let heard = match got? {
            Got::Frame(line) => Heard::Line(line),
            Got::TimedOut => Heard::Idle,
            Got::Stop => Heard::Stop,
        };
        self.touch();
        Ok(heard)
    }

    /// Waits until the peer has taken so much that there is room for more.
    async fn relieve(&mut self) -> Result<(), End> {
        self.drain(OUTPUT_OCTETS_MAX).await
    }

    /// Waits until all is on its way. Pipelined, RETR, DELE and QUIT come together: a message whose end could
    /// not be sent must not be deleted (RFC 1939 §6).
    async fn send_all(&mut self) -> Result<(), End> {
        self.drain(1).await?;
        let flushed = self.conn.flush(self.context.timeout);
        unless_evicted(self.maildrop.as_ref(), flushed).await.ok_or(End::Evicted)??;
        Ok(())
    }

    /// Waits until fewer octets than these are waiting.
    async fn drain(&mut self, octets: usize) -> Result<(), End> {
        while self.conn.output().len() >= octets {
            let taken = self.conn.send_some(self.context.timeout);
            unless_evicted(self.maildrop.as_ref(), taken).await.ok_or(End::Evicted)??;
            // A peer that takes anything at all is alive, however slow its line is.
            self.touch();
        }
        Ok(())
    }

    fn touch(&self) {
        if let Some(maildrop) = &self.maildrop {
            maildrop.touch(Instant::now());
        }
    }

    async fn send(&mut self, say: Option<Reply>, payload: Payload) -> Result<Event<'static>, End> {
        match payload {
            Payload::List(pages) => self.send_list(say, pages).await,
            Payload::Message { entry, part } => self.send_message(say, entry, part).await,
        }
    }

    async fn send_list(&mut self, say: Option<Reply>, mut pages: Pages) -> Result<Event<'static>, End> {
        self.say(say);
        while self.session.page(&mut pages, self.conn.output()) == Progress::More {
            self.relieve().await?;
        }
        Ok(Event::Sent)
    }

    /// Sends a message or its top. Nothing is said before its first slice is there: until then a
    /// fault can be told, after that only by cutting the connection.
    async fn send_message(
        &mut self,
        say: Option<Reply>,
        entry: Entry,
        part: Part,
    ) -> Result<Event<'static>, End> {
        let Some(maildrop) = &mut self.maildrop else {
            return Ok(Event::Unsent(not_open()));
        };
        let begun = async {
            let mut reader = maildrop.read_ahead(&entry, self.session.behind(&entry)).await?;
            Ok((reader.next().await?, reader))
        };
        let (mut slice, mut reader) = match begun.await {
            Ok(begun) => begun,
            Err(fault) => {
                if fault == Error::Gone {
                    info!(message = ?entry.id, "a message that was asked for was thrown away meanwhile");
                } else {
                    error!(%fault, message = ?entry.id, "a message cannot be read");
                }
                return Ok(Event::Unsent(fault));
            }
        };
        self.make_room(&entry, part);
        self.say(say);
        let mut outgoing = Outgoing::new(part);
        let mut wants = Wants::More;
        let mut found = 0;
        while let (Some(octets), Wants::More) = (&slice, wants) {
            found += octets.len() as u64;
            for piece in octets.chunks(PIECE_OCTETS) {
                wants = outgoing.feed(piece, self.conn.output());
                if wants == Wants::Nothing {
                    break;
                }
                self.relieve().await?;
            }
            if wants == Wants::More {
                slice = reader.next().await.map_err(|fault| End::Torn(entry.id, fault))?;
            }
        }
        // The sizes of STAT, LIST and the +OK are a promise; without its final dot a client throws
        // a message away that breaks it.
        if wants == Wants::More && found != entry.octets {
            return Err(End::Short { id: entry.id, found, promised: entry.octets });
        }
        outgoing.finish(self.conn.output());
        self.tally.retrieved += u64::from(part == Part::Whole);
        Ok(Event::Sent)
    }

    /// Makes the output as large as the message will make it, at once and not by doubling.
    fn make_room(&mut self, entry: &Entry, part: Part) {
        /// Of the reply before the message, and of dots.
        const MORE_OCTETS: usize = 256;
        if part == Part::Whole {
            let octets = usize::try_from(entry.octets).unwrap_or(usize::MAX).saturating_add(MORE_OCTETS);
            let output = self.conn.output();
            let most = (OUTPUT_OCTETS_MAX + PIECE_OCTETS).saturating_sub(output.len());
            output.reserve(octets.min(most));
        }
    }

    async fn resolve(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Nonce => Answer::Nonce(auth::nonce()),
            Ask::Parameters(user) => {
                Answer::Parameters(self.context.auth.scram_parameters(&user, &self.caller()).await)
            }
            Ask::Check(evidence) => Answer::Check(self.context.auth.check(&evidence, &self.caller()).await),
            Ask::Open(login) => Answer::Open(self.open(&login).await),
            Ask::Update(ids) => Answer::Update(self.update(ids).await),
        }
    }

    fn caller(&self) -> Caller<'_> {
        let failures_before = self.session.failed_logins();
        Caller { proto: "pop3", purpose: Purpose::Reading, peer: &self.peer, failures_before }
    }

    async fn open(&mut self, login: &Login) -> Result<Listing, Refusal> {
        let ip = self.peer;
        match self.context.store.open_maildrop(login, Instant::now()).await {
            Ok(Some((maildrop, listing))) => {
                self.maildrop = Some(maildrop);
                self.tally.logins += 1;
                self.conn.logged_in();
                let messages = listing.entries().len();
                let octets: u64 = listing.entries().iter().map(|entry| entry.octets).sum();
                let security = &self.session.offer().access.security;
                let (tls, cipher) = (security.version(), security.cipher());
                info!(user = login.mailbox().to_string(), messages, octets, tls, cipher, %ip, "login");
                Ok(listing)
            }
            Ok(None) => {
                let user = login.mailbox().to_string();
                info!(user, %ip, "login refused: another session has the mailbox open");
                Err(Refusal::InUse)
            }
            Err(fault) => {
                error!(user = login.mailbox().to_string(), %fault, "a mailbox cannot be opened");
                Err(Refusal::Store(fault))
            }
        }
    }

    async fn update(&mut self, ids: Vec<MessageId>) -> Result<Expunged, Error> {
        let maildrop = self.maildrop.take().ok_or_else(not_open)?;
        let updated = maildrop.expunge(ids).await;
        match &updated {
            Ok(proof) => self.tally.deleted = proof.messages(),
            Err(fault) => error!(%fault, "messages cannot be deleted"),
        }
        updated
    }
}

/// What `wait` yields, or `None` when another session takes the mailbox over first. Only for waits
/// that lose nothing when they are dropped.
async fn unless_evicted<T>(maildrop: Option<&Maildrop>, wait: impl Future<Output = T>) -> Option<T> {
    let Some(maildrop) = maildrop else {
        return Some(wait.await);
    };
    tokio::select! {
        biased;
        () = maildrop.evicted() => None,
        got = wait => Some(got),
    }
}

/// The session asks for messages only while a mailbox is open; should it ever not be so, it is told.
fn not_open() -> Error {
    Error::Unavailable("no mailbox is open".to_owned())
}
