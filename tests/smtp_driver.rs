//! The driver of SMTP over real sockets with a real store: TLS, logins from elsewhere, and LMTP, whose
//! peers a test on loopback cannot be.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod store_kit;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pillarbox::auth::Auth;
use pillarbox::auth::password::stored;
use pillarbox::mail::peer::Peer;
use pillarbox::mail::secret::Secret;
use pillarbox::net::conn::{Conn, Ending, LOGIN_PATIENCE};
use pillarbox::net::stream::Stream;
use pillarbox::net::tls::{Encryption, Keys};
use pillarbox::smtp::budget::Budget;
use pillarbox::smtp::intake::MEMORY_OCTETS_MAX;
use pillarbox::smtp::role::Role;
use pillarbox::smtp::role::Terms;
use pillarbox::smtp::server::{self, BUDGET_OCTETS, Context};
use pillarbox::store::Store;
use pillarbox::store::accounts::{Alias, AliasName, Mode};
use pillarbox::wire::access::PlaintextAuth;
use pillarbox::wire::dot::BareNewline;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store_kit::*;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

const HOST: &str = "mx.example.org";
const PASSWORD: &str = "a secret";

/// A store with accounts, and a certificate.
struct World {
    kit: Kit,
    store: Store,
    keys: Keys,
    certificate: CertificateDer<'static>,
}

impl World {
    async fn new() -> World {
        let mut kit = Kit::new(On::Sqlite);
        kit.options = closed(&kit.options);
        let store = kit.open().await;
        for (account, quota) in [("ann", None), ("bob", None), ("small", Some(2_000))] {
            let password = stored(&Secret::new(PASSWORD.as_bytes().to_vec())).expect("hashed");
            store.add_account(&name(account), &password, quota).await.expect("added");
        }
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![HOST.to_owned()]).expect("parameters");
        let certificate = params.self_signed(&key).expect("a certificate");
        let (pem, key_pem) = (kit.dir.path().join("cert.pem"), kit.dir.path().join("key.pem"));
        std::fs::write(&pem, certificate.pem()).expect("written");
        std::fs::write(&key_pem, key.serialize_pem()).expect("written");
        let keys = Keys::load(&pem, &key_pem).expect("they fit");
        World { kit, store, keys, certificate: certificate.der().clone() }
    }

    /// A session with a peer that seems to be elsewhere.
    async fn connect(&self, role: Role, encryption: Encryption) -> (Client<TcpStream>, JoinHandle<()>) {
        self.connect_with(role, encryption, BUDGET_OCTETS, LOGIN_PATIENCE).await
    }

    /// The same where all that comes in may hold so many octets.
    async fn connect_within(
        &self,
        budget_octets: usize,
        role: Role,
        encryption: Encryption,
    ) -> (Client<TcpStream>, JoinHandle<()>) {
        self.connect_with(role, encryption, budget_octets, LOGIN_PATIENCE).await
    }

    /// The same with so much time for a login.
    async fn connect_for(
        &self,
        role: Role,
        encryption: Encryption,
        login_patience: Duration,
    ) -> (Client<TcpStream>, JoinHandle<()>) {
        self.connect_with(role, encryption, BUDGET_OCTETS, login_patience).await
    }

    async fn connect_with(
        &self,
        role: Role,
        encryption: Encryption,
        budget_octets: usize,
        login_patience: Duration,
    ) -> (Client<TcpStream>, JoinHandle<()>) {
        let terms = Terms {
            hostname: HOST.into(),
            postmaster: address("postmaster@example.org"),
            message_octets_max: 1 << 20,
            recipients_max: 100,
            role,
        };
        let context = Context {
            store: self.store.clone(),
            auth: Auth::new(self.store.clone(), Mode::Closed, domain(HOST)),
            terms: Arc::new(terms),
            mode: Mode::Closed,
            encryption,
            plaintext_auth: PlaintextAuth::LocalOnly,
            timeout: Duration::from_secs(20),
            bare_newline: BareNewline::Refuse,
            budget: Budget::new(budget_octets),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let (stream, _) = listener.accept().await.expect("accepted");
        let conn = Conn::new(Stream::Tcp(stream), Ending::default()).with_login_patience(login_patience);
        let peer = Peer::tcp("192.0.2.7:4000".parse().expect("an address"));
        (Client(BufReader::new(client)), tokio::spawn(server::serve(conn, peer, Arc::new(context))))
    }

    async fn secure<S: Socket>(&self, client: Client<S>) -> Client<tokio_rustls::client::TlsStream<S>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
        assert!(client.0.buffer().is_empty(), "{:?}", client.0.buffer());
        let connector = TlsConnector::from(Arc::new(config));
        let host = ServerName::try_from(HOST).expect("a name");
        Client(BufReader::new(connector.connect(host, client.0.into_inner()).await.expect("a handshake")))
    }

    async fn messages(&self, mailbox: &str) -> Vec<String> {
        let Some(listing) = self.store.peek(&name(mailbox)).await.expect("readable") else { return vec![] };
        let mut all = Vec::new();
        for entry in listing.entries() {
            let message = octets(self.store.peek_message(entry)).await.expect("readable");
            all.push(String::from_utf8(message).expect("text"));
        }
        all
    }
}

trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Socket for T {}

struct Client<S>(BufReader<S>);

impl<S: Socket> Client<S> {
    async fn send(&mut self, octets: &[u8]) {
        self.0.write_all(octets).await.expect("sent");
        self.0.flush().await.expect("sent");
    }

    /// A whole reply; empty when the server has closed.
    async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let from = reply.len();
            // A server that closes without a goodbye of TLS is closed all the same.
            if self.0.read_line(&mut reply).await.unwrap_or(0) == 0 || reply.as_bytes()[from + 3] == b' ' {
                return reply;
            }
        }
    }

    async fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Says each line and expects a reply that begins so.
    async fn talk(&mut self, turns: &[(&str, &str)]) {
        for (line, want) in turns {
            let got = self.say(line).await;
            assert!(got.starts_with(want), "{line}: {got}, not {want}");
        }
    }
}

fn plain(user: &str) -> String {
    format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{user}\0{PASSWORD}")))
}

// proves: RFC 3207 §4.2
#[tokio::test]
async fn what_comes_before_the_handshake_is_not_read_after_it() {
    let world = World::new().await;
    let (mut client, session) = world.connect(Role::Mx, Encryption::OnRequest(world.keys.clone())).await;
    assert!(client.reply().await.starts_with("220 "));
    assert!(client.say("EHLO client.example").await.contains("\r\n250-STARTTLS\r\n"));
    client.send(b"STARTTLS\r\nEHLO evil.example\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<bo").await;
    assert!(client.reply().await.starts_with("220 2.0.0 "));
    let mut client = world.secure(client).await;
    client.talk(&[("MAIL FROM:<a@client.example>", "503 5.5.1 send EHLO")]).await;
    assert!(!client.say("EHLO client.example").await.contains("STARTTLS"));
    let turns = [
        ("STARTTLS", "503 "),
        ("RCPT TO:<bob@example.org>", "503 5.5.1 send MAIL"),
        ("MAIL FROM:<a@client.example>", "250 "),
        ("RCPT TO:<bob@example.org>", "250 "),
        ("DATA", "354 "),
        ("Subject: x\r\n.", "250 2.0.0 queued"),
        ("QUIT", "221 "),
    ];
    client.talk(&turns).await;
    session.await.expect("it ended");
    let [message] = &world.messages("bob").await[..] else { panic!("one message") };
    assert!(message.contains(" with ESMTPS id ") && message.contains("from client.example "), "{message}");
}

#[tokio::test]
async fn recipients_that_there_is_no_memory_for_are_left_to_another_transaction() {
    let world = World::new().await;
    let (mut client, session) = world.connect_within(0, Role::Mx, Encryption::Off).await;
    assert!(client.reply().await.starts_with("220 "));
    client.talk(&[("EHLO client.example", "250"), ("MAIL FROM:<a@client.example>", "250 ")]).await;
    let rcpt = format!("RCPT TO:<ann+{}@example.org>", "x".repeat(200));
    let mut accepted = 0;
    let refused = loop {
        match client.say(&rcpt).await {
            reply if reply.starts_with("250 ") => accepted += 1,
            reply => break reply,
        }
    };
    assert!(refused.starts_with("452 4.5.3 ") && (10..50).contains(&accepted), "{accepted}: {refused}");
    let turns = [
        ("DATA", "354 "),
        ("Subject: x\r\n.", "250 2.0.0 queued"),
        ("MAIL FROM:<a@client.example>", "250 "),
        (&rcpt, "250 "),
        ("QUIT", "221 "),
    ];
    client.talk(&turns).await;
    session.await.expect("it ended");
}

// proves: RFC 6409 §4.3
#[tokio::test]
async fn an_account_holder_from_elsewhere_needs_tls_then_a_login_and_then_an_address_of_its_own() {
    let world = World::new().await;
    let (mut client, session) =
        world.connect(Role::Submission, Encryption::OnRequest(world.keys.clone())).await;
    assert!(client.reply().await.starts_with("220 "));
    assert!(!client.say("EHLO client.example").await.contains("AUTH"));
    let turns = [
        ("MAIL FROM:<ann@example.org>", "530 5.7.0 must issue a STARTTLS"),
        (&plain("ann@example.org"), "538 5.7.11 "),
        ("STARTTLS", "220 "),
    ];
    client.talk(&turns).await;
    let mut client = world.secure(client).await;
    let extensions = client.say("EHLO client.example").await;
    assert!(extensions.contains("AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n"), "{extensions}");
    let turns = [
        ("MAIL FROM:<ann@example.org>", "530 5.7.0 authentication required"),
        (&plain("ann@example.org"), "235 2.7.0 "),
        ("MAIL FROM:<bob@example.org>", "550 5.7.1 "),
        ("MAIL FROM:<ann+x@example.org>", "250 "),
        ("RCPT TO:<a@client.example>", "550 5.7.1 "),
        ("RCPT TO:<bob@example.org>", "250 "),
        ("DATA", "354 "),
        ("Subject: x\r\n.", "250 2.0.0 queued"),
        ("QUIT", "221 "),
    ];
    client.talk(&turns).await;
    session.await.expect("it ended");
    let [message] = &world.messages("bob").await[..] else { panic!("one message") };
    assert!(message.contains(" with ESMTPSA id "), "{message}");
    assert!(message.ends_with("\r\nSubject: x\r\n"), "the message itself is not edited: {message}");
}

#[tokio::test]
async fn tls_from_the_first_octet_comes_before_the_greeting_and_a_failed_handshake_ends_one_session() {
    let world = World::new().await;
    let encryption = || Encryption::FromStart(world.keys.clone());
    let (mut lost, session) = world.connect(Role::Submission, encryption()).await;
    lost.send(b"EHLO client.example\r\n").await;
    session.await.expect("it ended");
    let (client, _session) = world.connect(Role::Submission, encryption()).await;
    let mut client = world.secure(client).await;
    assert_eq!(client.reply().await, "220 mx.example.org ESMTP Pillarbox\r\n");
    client.talk(&[("EHLO c", "250-"), (&plain("ann@example.org"), "235 "), ("QUIT", "221 ")]).await;
}

#[tokio::test]
async fn the_third_wrong_password_ends_the_session() {
    let world = World::new().await;
    let (client, session) = world.connect(Role::Submission, Encryption::FromStart(world.keys.clone())).await;
    let mut client = world.secure(client).await;
    client.reply().await;
    let wrong = format!("AUTH PLAIN {}", STANDARD.encode("\0ann@example.org\0wrong"));
    client.talk(&[("EHLO c", "250-"), (&wrong, "535 5.7.8 "), (&wrong, "535 5.7.8 ")]).await;
    assert!(client.say(&wrong).await.starts_with("535 5.7.8 "));
    assert!(client.reply().await.starts_with("421 4.7.0 "));
    assert_eq!(client.reply().await, "");
    session.await.expect("it ended");
}

const HURRIED: Duration = Duration::from_secs(2);

/// Says something harmless over and over, until it is answered with something else or for so long.
async fn chat<S: Socket>(client: &mut Client<S>, until: Instant) -> Option<String> {
    while Instant::now() < until {
        let reply = client.say("NOOP").await;
        if !reply.starts_with("250 ") {
            return Some(reply);
        }
    }
    None
}

#[tokio::test]
async fn whoever_says_noop_instead_of_logging_in_is_sent_away_in_time_and_tls_gives_no_more() {
    let world = World::new().await;
    let on_request = Encryption::OnRequest(world.keys.clone());
    let began = Instant::now();
    let (mut client, session) = world.connect_for(Role::Submission, on_request, HURRIED).await;
    assert!(client.reply().await.starts_with("220 "));
    client.talk(&[("EHLO client.example", "250-")]).await;
    assert_eq!(chat(&mut client, began + HURRIED / 2).await, None);
    client.talk(&[("STARTTLS", "220 ")]).await;
    let mut client = world.secure(client).await;
    let secured = Instant::now();
    client.talk(&[("EHLO client.example", "250-")]).await;
    let told = chat(&mut client, secured + HURRIED).await;
    assert!(told.as_deref().is_some_and(|told| told.starts_with("421 4.4.2 ")), "{told:?}");
    assert!(began.elapsed() >= HURRIED, "{:?}", began.elapsed());
    assert_eq!(client.reply().await, "");
    session.await.expect("it ended");
}

#[tokio::test]
async fn nothing_else_keeps_a_session_without_a_login_either() {
    let world = World::new().await;
    // Silence, an exchange that is not answered, and octets that are only swallowed.
    for says in [&b""[..], b"EHLO c\r\nAUTH PLAIN\r\n", b"EHLO c\r\nBDAT 999999999\r\n"] {
        let from_start = Encryption::FromStart(world.keys.clone());
        let (client, session) = world.connect_for(Role::Submission, from_start, HURRIED / 4).await;
        let mut client = world.secure(client).await;
        client.send(says).await;
        let mut told = client.reply().await;
        while !told.starts_with("421 ") {
            assert_ne!(told, "", "{:?}", String::from_utf8_lossy(says));
            told = client.reply().await;
        }
        assert!(told.starts_with("421 4.4.2 "), "{told}");
        session.await.expect("it ended");
    }
}

#[tokio::test]
async fn whoever_has_logged_in_or_needs_no_login_may_take_its_time() {
    let world = World::new().await;
    let (client, _session) =
        world.connect_for(Role::Submission, Encryption::FromStart(world.keys.clone()), HURRIED).await;
    let mut account = world.secure(client).await;
    assert!(account.reply().await.starts_with("220 "));
    account.talk(&[("EHLO c", "250-"), (&plain("ann@example.org"), "235 ")]).await;
    let (mut mx, _session) = world.connect_for(Role::Mx, Encryption::Off, HURRIED).await;
    assert!(mx.reply().await.starts_with("220 "));
    let until = Instant::now() + HURRIED + HURRIED / 4;
    assert_eq!(tokio::join!(chat(&mut account, until), chat(&mut mx, until)), (None, None));
    account.talk(&[("MAIL FROM:<ann@example.org>", "250 ")]).await;
}

// proves: RFC 2033 §4.2
#[tokio::test]
async fn lmtp_keeps_a_message_for_each_recipient_by_itself_however_large_it_is() {
    let world = World::new().await;
    let targets = ["ann", "small"].map(name).to_vec();
    let team = Alias { name: AliasName::Address(name("team")), targets };
    world.store.add_alias(&team).await.expect("added");
    let line = "0123456789".repeat(7) + "\r\n";
    for lines in [100, 2 * MEMORY_OCTETS_MAX / line.len()] {
        let (mut client, session) = world.connect(Role::Lmtp, Encryption::Off).await;
        let before = world.messages("ann").await.len();
        assert_eq!(client.reply().await, "220 mx.example.org LMTP Pillarbox\r\n");
        let turns = [
            ("LHLO mta.example", "250-"),
            ("MAIL FROM:<a@client.example>", "250 "),
            ("RCPT TO:<small@example.org>", "250 "),
            ("RCPT TO:<ann@example.org>", "250 "),
            ("RCPT TO:<team@example.org>", "250 "),
            ("RCPT TO:<Ann+x@example.org>", "250 "),
            ("RCPT TO:<bob@example.org>", "250 "),
            ("DATA", "354 "),
        ];
        client.talk(&turns).await;
        client.send((line.repeat(lines) + ".\r\n").as_bytes()).await;
        for want in ["452 4.2.2 ", "250 2.0.0 ", "452 4.2.2 ", "250 2.0.0 ", "250 2.0.0 "] {
            let got = client.reply().await;
            assert!(got.starts_with(want), "{got}, not {want}");
        }
        client.talk(&[("NOOP", "250 "), ("QUIT", "221 ")]).await;
        session.await.expect("it ended");
        assert_eq!(world.messages("small").await.len(), 0);
        let of_ann = world.messages("ann").await;
        assert_eq!(of_ann.len(), before + 1, "once, although three recipients lead there");
        assert!(of_ann[before].contains(" with LMTP id ") && of_ann[before].ends_with(&line.repeat(lines)));
        assert_eq!(world.messages("bob").await.len(), before + 1);
    }
    world.kit.assert_in_order().await;
}
