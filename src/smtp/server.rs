//! The driver: one connection from its greeting to its close.
//!
//! It carries lines and messages to the session, questions to the store, and replies to the peer,
//! and it writes the log. What is allowed when is for the session to know.

mod delivery;
mod login;

use super::budget::{Addressees, Budget, Share};
use super::codec::{Awaiting, Codec, Frame, Framing, LineEnds};
use super::command::loggable;
use super::intake::{BodyFault, Intake, Kept};
use super::offer::Offer;
use super::reply::Reply;
use super::role::{Role, Senders, Terms};
use super::session::{Answer, Ask, Event, Next, Session, Step};
use crate::auth::{self, Auth};
use crate::mail::body::{Body, Message};
use crate::mail::peer::{Peer, Security};
use crate::net::conn::{Conn, ConnError, Got, Waiting};
use crate::net::tls::{Encryption, Keys};
use crate::store::Store;
use crate::store::accounts::Mode;
use crate::store::outcome::{Error, Route};
use crate::store::staging::Staging;
use crate::wire::access::PlaintextAuth;
use crate::wire::dot::BareNewline;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::{Instrument, Span, debug, info, info_span, warn};

/// Memory that all messages that come in, and their recipients, may hold together, in octets.
pub const BUDGET_OCTETS: usize = 32 * 1024 * 1024;
/// How long a peer may take for a handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(30);
/// A message has to come at least this fast, in octets a second, once [`Context::timeout`] was
/// spent on waiting for it.
const PACE_OCTETS_MIN: u64 = 512;
/// Refusals of one session that are logged for everybody to see; the rest at `debug`, so that a peer
/// cannot fill a disk.
const REFUSALS_LOGGED_MAX: u32 = 100;

/// What all sessions of a listener share.
#[derive(Debug)]
pub struct Context {
    /// The mailboxes.
    pub store: Store,
    /// Who may log in.
    pub auth: Auth,
    /// What the server is called, what the listener is for, and what it allows.
    pub terms: Arc<Terms>,
    /// Whether passwords are checked.
    pub mode: Mode,
    /// When TLS begins.
    pub encryption: Encryption,
    /// Where a login may do without TLS. In open mode, whose passwords mean nothing, everywhere.
    pub plaintext_auth: PlaintextAuth,
    /// How long a session may wait for a command or for the next octets of a message. For a login it
    /// waits no longer than [`crate::net::conn::LOGIN_PATIENCE`] in all.
    pub timeout: Duration,
    /// What becomes of a bare CR or LF.
    pub bare_newline: BareNewline,
    /// The memory for what comes in; share one of [`BUDGET_OCTETS`] between all listeners.
    pub budget: Arc<Budget>,
}

/// Runs a session to its end.
pub async fn serve(conn: Conn, peer: Peer, context: Arc<Context>) {
    static SESSIONS: AtomicU64 = AtomicU64::new(1);
    let id = SESSIONS.fetch_add(1, Ordering::Relaxed);
    let span = span(context.terms.role, id, peer);
    let session = async {
        debug!("session begins");
        match Driver::new(conn, peer, &context).run().await {
            Ok(()) => debug!("session ends"),
            Err(reason @ ConnError::Handshake(_)) => info!(%reason, "session ends"),
            Err(reason) => debug!(%reason, "session ends"),
        }
    };
    session.instrument(span).await;
}

fn span(role: Role, session: u64, peer: Peer) -> Span {
    match role {
        Role::Mx => info_span!("smtp", session, %peer),
        Role::Submission => info_span!("submission", session, %peer),
        Role::Lmtp => info_span!("lmtp", session, %peer),
    }
}

struct Driver<'a> {
    conn: Conn,
    codec: Codec,
    peer: Peer,
    context: &'a Context,
    /// The message that comes in; there is one from its first octet to its last chunk.
    incoming: Option<Incoming>,
    /// What a message holds that waits for its delivery: its share of the budget, its staged slices.
    held: Option<Held>,
    /// What the recipients of the transaction hold.
    addressees: Addressees,
    refusals: u32,
}

/// A message that comes in.
struct Incoming {
    intake: Intake,
    staging: Option<Staging>,
    pace: Pace,
}

/// Dropped when the delivery was answered.
enum Held {
    Memory { _share: Share },
    Store { _staging: Staging },
}

/// What a step is about, for the log.
enum Topic {
    Line(bytes::Bytes),
    Other(&'static str),
}

/// How the reading of a message or chunk ended.
enum Ended {
    Complete,
    TimedOut,
}

impl<'a> Driver<'a> {
    fn new(conn: Conn, peer: Peer, context: &'a Context) -> Driver<'a> {
        let codec = Codec::new(context.bare_newline);
        let addressees = Addressees::new(context.budget.clone());
        Driver { conn, codec, peer, context, incoming: None, held: None, addressees, refusals: 0 }
    }

    async fn run(mut self) -> Result<(), ConnError> {
        let security = match self.context.encryption.clone() {
            Encryption::FromStart(keys) => self.secure(&keys).await?,
            Encryption::Off | Encryption::OnRequest(_) => Security::Plain,
        };
        if self.is_shut_out() {
            Reply::TOO_MANY_LOGINS.encode(self.conn.output());
            return self.conn.close(self.context.timeout).await;
        }
        let (mut session, greeting) = Session::new(self.context.terms.clone(), self.offer(security));
        greeting.encode(self.conn.output());
        if self.needs_login() {
            self.conn.await_login();
        }
        let mut next = Next::Read(Awaiting::Command);
        let mut topic = Topic::Other("greeting");
        loop {
            let step = match next {
                Next::Read(awaiting) => {
                    self.codec.expect(awaiting);
                    // Between two chunks a message is under way: a stopping server lets it finish.
                    let waiting = if session.is_receiving() { Waiting::Message } else { Waiting::Command };
                    let got = self.conn.frame(&mut self.codec, waiting, self.context.timeout).await?;
                    topic = Topic::of(&got, awaiting);
                    session.step(event(&got))
                }
                Next::Body(framing) => session.step(self.body(framing).await?),
                Next::Ask(question) => {
                    let answer = self.answer(question, &session).await;
                    session.step(Event::Answer(answer))
                }
                Next::StartTls => session.step(self.start_tls().await?),
                Next::Close => return self.conn.close(self.context.timeout).await,
            };
            if !session.is_receiving() {
                self.incoming = None;
            }
            if !session.is_in_transaction() {
                self.addressees.clear();
            }
            if session.login().is_some() {
                self.conn.logged_in();
            }
            self.say(&step, &topic);
            self.conn.relieve(self.context.timeout).await?;
            next = step.next;
        }
    }

    /// Whether it is of no use to let the peer begin: it would have to log in, and may not.
    fn is_shut_out(&self) -> bool {
        self.needs_login() && self.context.auth.is_blocked(&self.peer)
    }

    /// Whether the peer can do nothing here without a login.
    fn needs_login(&self) -> bool {
        self.context.terms.role.rules().senders == Senders::Accounts
    }

    /// What can be done under `security`.
    fn offer(&self, security: Security) -> Offer {
        let Context { auth, terms, mode, encryption, plaintext_auth, .. } = self.context;
        Offer {
            start_tls: encryption.start_tls(),
            plaintext: plaintext_auth.towards(&self.peer),
            mechanisms: login::mechanisms(terms.role, *mode, auth.mechanisms(&security)),
            strictness: auth.strictness(),
            security,
        }
    }

    async fn start_tls(&mut self) -> Result<Event<'static>, ConnError> {
        // The session asks for this only where it was told that there are keys.
        let Encryption::OnRequest(keys) = self.context.encryption.clone() else { return Ok(Event::Skipped) };
        let security = self.secure(&keys).await?;
        // Nothing that came before the handshake counts after it, half lines included.
        self.codec = Codec::new(self.context.bare_newline);
        Ok(Event::Secured(self.offer(security)))
    }

    async fn secure(&mut self, keys: &Keys) -> Result<Security, ConnError> {
        let info = self.conn.secure(keys, HANDSHAKE_PATIENCE.min(self.context.timeout)).await?;
        debug!(version = %info.version, cipher = %info.cipher, "encrypted");
        Ok(Security::Tls(info))
    }

    /// Puts the replies of a step into the way out; refusals go to the log too.
    fn say(&mut self, step: &Step, topic: &Topic) {
        for reply in &step.say {
            reply.encode(self.conn.output());
            if reply.is_refusal() {
                self.refusals = self.refusals.saturating_add(1);
                let (about, code, text) = (topic.text(), reply.code(), reply.text());
                if self.refusals <= REFUSALS_LOGGED_MAX {
                    info!(about, code, text, "refused");
                } else {
                    debug!(about, code, text, "refused");
                }
            }
        }
    }

    /// Reads what is not lines, to its end whatever happens, so that the stream stays in step.
    async fn body(&mut self, framing: Framing) -> Result<Event<'static>, ConnError> {
        self.codec.begin(framing);
        let (first, last) = match framing {
            Framing::Skip { .. } => return self.skip().await,
            Framing::Dot => (true, true),
            Framing::Chunk { first, last, .. } => (first, last),
        };
        let mut incoming = match self.incoming.take() {
            Some(incoming) if !first => incoming,
            _ => Incoming::new(self.context),
        };
        if let Ended::TimedOut = self.receive(&mut incoming).await? {
            return Ok(Event::Idle);
        }
        if last {
            return Ok(Event::Body(self.finish(incoming).await));
        }
        let fault = incoming.intake.fault().cloned();
        self.incoming = Some(incoming);
        Ok(Event::Chunk(fault.map_or(Ok(()), Err)))
    }

    async fn skip(&mut self) -> Result<Event<'static>, ConnError> {
        let mut pace = Pace::default();
        loop {
            match self.message_frame(&mut pace).await? {
                None => return Ok(Event::Idle),
                Some(Frame::End(_)) => return Ok(Event::Skipped),
                Some(_) => {}
            }
        }
    }

    async fn receive(&mut self, incoming: &mut Incoming) -> Result<Ended, ConnError> {
        loop {
            match self.message_frame(&mut incoming.pace).await? {
                None => return Ok(Ended::TimedOut),
                Some(Frame::Data(octets)) => incoming.take(&octets, &self.context.store).await,
                Some(Frame::End(LineEnds::Bare)) => {
                    incoming.refuse(BodyFault::BareNewline);
                    return Ok(Ended::Complete);
                }
                Some(_) => return Ok(Ended::Complete),
            }
        }
    }

    /// The next frame of a message; `None` when it comes too slowly.
    async fn message_frame(&mut self, pace: &mut Pace) -> Result<Option<Frame>, ConnError> {
        let asked = Instant::now();
        let got = self.conn.frame(&mut self.codec, Waiting::Message, self.context.timeout).await?;
        let Got::Frame(frame) = got else { return Ok(None) };
        pace.count(asked.elapsed(), &frame);
        Ok(pace.is_kept(self.context.timeout).then_some(frame))
    }

    /// The message as a delivery names it.
    async fn finish(&mut self, incoming: Incoming) -> Result<Message, BodyFault> {
        let Incoming { intake, mut staging, .. } = incoming;
        let store = &self.context.store;
        let beginning = intake.beginning();
        let body = match intake.finish()? {
            Kept::Memory(slices, share) => {
                self.held = Some(Held::Memory { _share: share });
                Body::Memory(slices)
            }
            Kept::Store(slices) => {
                for slice in slices {
                    push(&mut staging, slice, store).await.map_err(BodyFault::Store)?;
                }
                let body = staging.as_ref().map_or(Body::Memory(Vec::new()), Staging::body);
                self.held = staging.map(|staging| Held::Store { _staging: staging });
                body
            }
        };
        Ok(Message { body, beginning })
    }

    /// Answers a question of the session. Never raced against the peer or the clock: what the store
    /// has begun it does, and the peer has to hear of it.
    async fn answer(&mut self, question: Ask, session: &Session) -> Answer {
        let store = &self.context.store;
        match question {
            Ask::Route(to, octets) => {
                let route = store.route(&to, octets).await.inspect_err(|error| {
                    warn!(to = to.to_string(), %error, "recipient not taken");
                });
                match route {
                    Ok(Route::Mailboxes(mailboxes)) if !self.addressees.add(&to, &mailboxes) => {
                        Answer::Crowded
                    }
                    route => Answer::Route(route),
                }
            }
            Ask::MaySend(login, from) => {
                let allowed = store.may_send(&login, &from).await;
                Answer::MaySend(allowed.inspect_err(|error| {
                    warn!(from = from.to_string(), %error, "sender not looked up");
                }))
            }
            Ask::Deliver(envelope, message) => {
                let kept = self.deliver(&envelope, message, session).await;
                self.held = None;
                Answer::Deliver(kept)
            }
            Ask::DeliverEach(envelope, message) => {
                let kept = self.deliver_each(envelope, message, session).await;
                self.held = None;
                Answer::DeliverEach(kept)
            }
            Ask::Nonce => Answer::Nonce(auth::nonce()),
            Ask::Parameters(user) => Answer::Parameters(self.parameters(&user, session).await),
            Ask::Check(evidence) => Answer::Check(self.check(&evidence, session).await),
        }
    }
}

impl Incoming {
    fn new(context: &Context) -> Incoming {
        let intake = Intake::new(context.terms.message_octets_max, context.budget.clone());
        Incoming { intake, staging: None, pace: Pace::default() }
    }

    async fn take(&mut self, octets: &[u8], store: &Store) {
        self.intake.take(octets);
        while let Some(slice) = self.intake.spill() {
            if let Err(error) = push(&mut self.staging, slice, store).await {
                warn!(%error, "message not staged");
                self.refuse(BodyFault::Store(error));
            }
        }
        if self.intake.fault().is_some() {
            self.staging = None;
        }
    }

    fn refuse(&mut self, fault: BodyFault) {
        self.intake.refuse(fault);
        self.staging = None;
    }
}

async fn push(staging: &mut Option<Staging>, slice: bytes::Bytes, store: &Store) -> Result<(), Error> {
    let staging = match staging {
        Some(staging) => staging,
        None => staging.insert(store.stage().await?),
    };
    staging.push(slice).await
}

fn event(got: &Got<Frame>) -> Event<'_> {
    match got {
        Got::Frame(Frame::Line(line)) => Event::Line(line),
        Got::Frame(Frame::BareNewline) => Event::BareNewline,
        Got::Frame(Frame::TooLong) => Event::LineTooLong,
        // The codec gives nothing else while it reads lines.
        Got::Frame(Frame::Data(_) | Frame::Skipped(_) | Frame::End(_)) => Event::Skipped,
        Got::TimedOut => Event::Idle,
        Got::Stop => Event::Stop,
    }
}

impl Topic {
    fn of(got: &Got<Frame>, awaiting: Awaiting) -> Topic {
        match got {
            Got::Frame(_) if awaiting == Awaiting::Response => Topic::Other("a response in AUTH"),
            Got::Frame(Frame::Line(line)) => Topic::Line(line.clone()),
            Got::Frame(_) => Topic::Other("a line that cannot be read"),
            Got::TimedOut => Topic::Other("silence, or no login in time"),
            Got::Stop => Topic::Other("the end of the server"),
        }
    }

    /// As a string value, which the log quotes and escapes: no peer can forge a line or a field of it.
    fn text(&self) -> String {
        match self {
            Topic::Line(line) => String::from_utf8_lossy(loggable(line)).into_owned(),
            Topic::Other(text) => (*text).to_owned(),
        }
    }
}

/// How fast a message comes. Time that the store takes does not count against the peer.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    waited: Duration,
    octets: u64,
}

impl Pace {
    fn count(&mut self, waited: Duration, frame: &Frame) {
        self.waited += waited;
        self.octets += match frame {
            Frame::Data(octets) => octets.len() as u64,
            Frame::Skipped(octets) => *octets as u64,
            _ => 0,
        };
    }

    fn is_kept(self, grace: Duration) -> bool {
        self.waited <= grace || self.octets / PACE_OCTETS_MIN >= self.waited.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_drips_is_given_up_and_a_slow_one_is_not() {
        let grace = Duration::from_secs(300);
        let pace = |seconds, octets| Pace { waited: Duration::from_secs(seconds), octets };
        assert!(pace(300, 0).is_kept(grace));
        assert!(!pace(301, 300 * 512).is_kept(grace));
        assert!(pace(301, 301 * 512).is_kept(grace));
        assert!(!pace(10_000, 1_000_000).is_kept(grace));
    }
}
