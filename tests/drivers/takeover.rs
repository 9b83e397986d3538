//! Two logins for one mailbox. The driver takes its time from the clock, but the store is told the
//! time: a login of the test's own comes from the future, and nobody has to wait for it. And clients that
//! never log in.

use pillarbox::auth::Auth;
use pillarbox::mail::address::{Address, Domain, MailboxName};
use pillarbox::mail::body::Body;
use pillarbox::mail::envelope::{Delivery, MailboxCopy, Overdraft};
use pillarbox::mail::ids::QueueId;
use pillarbox::mail::peer::Peer;
use pillarbox::net::conn::{Conn, Ending, LOGIN_PATIENCE};
use pillarbox::net::stream::Stream;
use pillarbox::net::tls::Encryption;
use pillarbox::pop3::offer::Expiry;
use pillarbox::pop3::server::{self, Context};
use pillarbox::store::accounts::Mode;
use pillarbox::store::maildrop::SILENCE_MAX;
use pillarbox::store::retention::Rules;
use pillarbox::store::testing::open_maildrop;
use pillarbox::store::{Options, Store, Tenure};
use pillarbox::wire::access::PlaintextAuth;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

const BOB: &str = "bob@example.org";

/// A client of a driver in this process.
struct Client(BufReader<UnixStream>);

impl Client {
    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.expect("ASCII");
        line
    }

    async fn ask(&mut self, command: &str) -> String {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).await.expect("it is open");
        self.line().await
    }

    /// The same of a session that may be over: empty then.
    async fn ask_if_open(&mut self, command: &str) -> String {
        // What cannot be sent any more is not answered.
        let _ = self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).await;
        let mut line = String::new();
        self.0.read_line(&mut line).await.map(|_| line).unwrap_or_default()
    }

    /// Reads the greeting of a session that has so much time for a login.
    async fn connect(context: &Arc<Context>, login_patience: Duration) -> Client {
        let (ours, theirs) = UnixStream::pair().expect("two ends");
        let conn = Conn::new(Stream::Unix(theirs), Ending::default()).with_login_patience(login_patience);
        tokio::spawn(server::serve(conn, Peer::Unix, context.clone()));
        let mut client = Client(BufReader::new(ours));
        assert!(client.line().await.starts_with("+OK"));
        client
    }

    async fn login(context: &Arc<Context>) -> (Client, String) {
        let mut client = Client::connect(context, LOGIN_PATIENCE).await;
        client.ask(&format!("USER {BOB}")).await;
        let answer = client.ask("PASS any").await;
        (client, answer)
    }
}

fn bob() -> MailboxName {
    Address::parse(BOB).expect("an address").name()
}

/// A store in `dir` with two messages for Bob, and what sessions need of it.
async fn context(dir: &std::path::Path) -> Arc<Context> {
    let store = Store::open(Options {
        data_dir: dir.to_owned(),
        mode: Mode::Open,
        domains: vec![],
        tag_separator: "+".into(),
        default_quota: None,
        retention: Rules::default(),
        tenure: Tenure::Server,
    });
    let store = store.await.expect("the store opens");
    for number in 0..2 {
        let copies = vec![MailboxCopy { mailbox: bob(), head: "Return-Path: <>\r\n".into() }];
        let body = Body::Memory(vec!["Subject: x\r\n\r\n".into()]);
        let delivery =
            Delivery { queue_id: QueueId::from_random(number), body, copies, overdraft: Overdraft::Refused };
        store.deliver(delivery).await.expect("it is kept");
    }
    let auth = Auth::new(store.clone(), Mode::Open, Domain::parse("localhost").expect("a name"));
    Arc::new(Context {
        hostname: "localhost".into(),
        store,
        auth,
        encryption: Encryption::Off,
        plaintext_auth: PlaintextAuth::LocalOnly,
        timeout: Duration::from_secs(600),
        expiry: Expiry::Never,
    })
}

#[tokio::test]
async fn a_session_silent_for_a_minute_gives_way_and_deletes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let context = context(dir.path()).await;
    let began = Instant::now();
    let (mut silent, answer) = Client::login(&context).await;
    assert!(answer.starts_with("+OK"), "{answer}");
    let (_, refused) = Client::login(&context).await;
    assert!(refused.starts_with("-ERR [IN-USE] "), "{refused}");
    let early = began + SILENCE_MAX - Duration::from_secs(1);
    assert!(open_maildrop(&context.store, &bob(), early).await.expect("it can be read").is_none());
    assert!(silent.ask("DELE 1").await.starts_with("+OK"));
    let heard = Instant::now();
    let late = heard + SILENCE_MAX;
    let (maildrop, listing) =
        open_maildrop(&context.store, &bob(), late).await.expect("it can be read").expect("it is given up");
    assert_eq!(listing.entries().len(), 2, "nothing was deleted");
    let goodbye = silent.line().await;
    assert!(goodbye.starts_with("-ERR ") && goodbye.contains("nothing was deleted"), "{goodbye}");
    assert_eq!(silent.line().await, "", "closed");
    drop(maildrop);
    let (_next, answer) = Client::login(&context).await;
    assert!(answer.starts_with("+OK logged in, 2 messages"), "{answer}");
}

#[tokio::test]
async fn every_command_is_a_sign_of_life() {
    let dir = tempfile::tempdir().expect("a directory");
    let context = context(dir.path()).await;
    let (mut alive, _) = Client::login(&context).await;
    let logged_in = Instant::now();
    assert_eq!(alive.ask("NOOP").await, "+OK still here\r\n");
    let after_login = logged_in + SILENCE_MAX;
    assert!(open_maildrop(&context.store, &bob(), after_login).await.expect("it can be read").is_none());
    assert_eq!(alive.ask("NOOP").await, "+OK still here\r\n");
}

#[tokio::test]
async fn whoever_asks_this_and_that_instead_of_logging_in_is_sent_away_in_time() {
    const HURRIED: Duration = Duration::from_secs(1);
    let dir = tempfile::tempdir().expect("a directory");
    let context = context(dir.path()).await;
    let began = Instant::now();
    let mut stranger = Client::connect(&context, HURRIED).await;
    // RFC 1939 §3: the timer says nothing when it runs out.
    let mut told = "+".to_owned();
    while !told.is_empty() {
        assert!(began.elapsed() < 10 * HURRIED, "{told}");
        told = stranger.ask_if_open("USER bob@example.org").await;
    }
    assert!(began.elapsed() >= HURRIED, "{:?}", began.elapsed());
    // A mailbox that somebody else has is no login either; whoever has one may take its time.
    let began = Instant::now();
    let mut owner = Client::connect(&context, HURRIED).await;
    owner.ask(&format!("USER {BOB}")).await;
    assert!(owner.ask("PASS any").await.starts_with("+OK"));
    let mut other = Client::connect(&context, HURRIED).await;
    other.ask(&format!("USER {BOB}")).await;
    assert!(other.ask("PASS any").await.starts_with("-ERR [IN-USE] "));
    assert_eq!(other.line().await, "", "closed");
    assert!(began.elapsed() >= HURRIED, "{:?}", began.elapsed());
    assert_eq!(owner.ask("NOOP").await, "+OK still here\r\n");
}
