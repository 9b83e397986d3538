//! Logging in by SASL, from the first line to the verdict: the exchange, the keys, the store.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod store_kit;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use pillarbox::auth::outcome::{Denied, Verified};
use pillarbox::auth::password::stored;
use pillarbox::auth::{Auth, Caller, Purpose};
use pillarbox::mail::peer::{Peer, Security, TlsInfo};
use pillarbox::mail::secret::{Credentials, Secret};
use pillarbox::store::Store;
use pillarbox::store::accounts::{Mode, StoredPassword};
use pillarbox::wire::sasl::{
    Evidence, Exchange, Fault, Mechanism, ScramParameters, ScramProof, Strictness, Turn,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store_kit::*;

const NONCE: [u8; 18] = [42; 18];

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn local() -> Peer {
    Peer::tcp("127.0.0.1:4000".parse().unwrap())
}

fn tls(exporter: [u8; 32]) -> Security {
    let (version, cipher) = ("TLSv1.3".into(), "TLS13_AES_256_GCM_SHA384".into());
    Security::Tls(TlsInfo { version, cipher, exporter: Some(exporter) })
}

fn caller(peer: &Peer) -> Caller<'_> {
    Caller { proto: "test", purpose: Purpose::Reading, peer, failures_before: 0 }
}

async fn closed_house(kit: &mut Kit) -> (Store, Auth) {
    kit.options = closed(&kit.options);
    let store = kit.open().await;
    store.add_account(&name("ann"), &stored(&secret("pencil")).unwrap(), None).await.unwrap();
    (store.clone(), Auth::new(store, Mode::Closed, domain("example.org")))
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// A client of SCRAM, written from RFC 5802 §3: what it proves, and what it expects to be told.
struct Client<'a> {
    user: &'a str,
    password: &'a str,
    header: &'a str,
    binding: &'a [u8],
}

impl Client<'_> {
    fn first(&self) -> String {
        STANDARD.encode(format!("{}{}", self.header, self.bare()))
    }

    fn bare(&self) -> String {
        format!("n={},r=rOprNGfwEbeRWgbNEkqO", self.user)
    }

    /// The last message, and the server's last message.
    fn last(&self, challenge: &str) -> (String, String) {
        let server_first = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
        let mut fields = server_first.split(',');
        let mut field = |name| fields.next().and_then(|field| field.strip_prefix(name)).unwrap().to_owned();
        let (nonce, salt, rounds) = (field("r="), field("s="), field("i="));
        let mut salted = [0; 32];
        let salt = STANDARD.decode(salt).unwrap();
        let rounds = rounds.parse().unwrap();
        pbkdf2::pbkdf2_hmac::<Sha256>(self.password.as_bytes(), &salt, rounds, &mut salted);
        let binding = STANDARD.encode([self.header.as_bytes(), self.binding].concat());
        let without_proof = format!("c={binding},r={nonce}");
        let auth_message = format!("{},{server_first},{without_proof}", self.bare());
        let client_key = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha256::digest(client_key), auth_message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, octet)| key ^ octet).collect();
        let server = hmac(&hmac(&salted, b"Server Key"), auth_message.as_bytes());
        let last = format!("{without_proof},p={}", STANDARD.encode(proof));
        (STANDARD.encode(last), STANDARD.encode(format!("v={}", STANDARD.encode(server))))
    }

    async fn log_in(
        &self,
        auth: &Auth,
        mechanism: Mechanism,
        security: &Security,
    ) -> Result<Verified, Denied> {
        let first = self.first();
        let (mut exchange, turn) =
            Exchange::begin(mechanism, Some(first.as_bytes()), security, NONCE, Strictness::Full);
        let Turn::Parameters(user) = turn else { panic!("{turn:?}") };
        let parameters = auth.scram_parameters(&user, &caller(&local())).await?;
        let Turn::Challenge(challenge) = exchange.parameters(&parameters) else { panic!("no challenge") };
        let (last, expected) = self.last(&challenge);
        let turn = exchange.line(last.as_bytes());
        let Turn::Check(evidence) = turn else { panic!("{turn:?}") };
        let verified = auth.check(&evidence, &caller(&local())).await?;
        let turn = exchange.verified(verified.signature);
        assert!(matches!(turn, Turn::Challenge(told) if told == expected), "the server knows it too");
        assert!(matches!(exchange.line(b""), Turn::Done));
        Ok(verified)
    }
}

#[tokio::test]
async fn scram_logs_in_who_knows_the_password_with_and_without_a_binding() {
    let mut kit = Kit::new(On::Sqlite);
    let (store, auth) = closed_house(&mut kit).await;
    let ann = Client { user: "Ann", password: "pencil", header: "n,,", binding: b"" };
    let verified = ann.log_in(&auth, Mechanism::ScramSha256, &Security::Plain).await.unwrap();
    assert_eq!(verified.login.mailbox(), &name("ann"));
    let exporter = [9; 32];
    let bound = Client { header: "p=tls-exporter,,", binding: &exporter, ..ann };
    bound.log_in(&auth, Mechanism::ScramSha256Plus, &tls(exporter)).await.unwrap();

    let wrong = Client { password: "pencils", ..ann };
    let denied = wrong.log_in(&auth, Mechanism::ScramSha256, &Security::Plain).await;
    assert_eq!(denied, Err(Denied::Credentials));
    let nobody = Client { user: "nobody", ..ann };
    let denied = nobody.log_in(&auth, Mechanism::ScramSha256, &Security::Plain).await;
    assert_eq!(denied, Err(Denied::Credentials));
    store.close().await;
}

#[tokio::test]
async fn a_password_that_saslprep_changes_opens_by_every_mechanism() {
    let mut kit = Kit::new(On::Sqlite);
    let (store, auth) = closed_house(&mut kit).await;
    store.set_password(&name("ann"), &stored(&secret("se\u{301}same")).unwrap()).await.unwrap();
    let ann = Client { user: "ann", password: "s\u{e9}same", header: "n,,", binding: b"" };
    ann.log_in(&auth, Mechanism::ScramSha256, &Security::Plain).await.unwrap();
    for typed in ["se\u{301}same", "s\u{e9}same"] {
        let credentials = Credentials { user: "ann".into(), password: secret(typed) };
        assert!(auth.verify(&credentials, &caller(&local())).await.is_ok(), "{typed}");
    }
    store.close().await;
}

#[tokio::test]
async fn nobody_can_tell_by_the_parameters_who_has_an_account() {
    let mut kit = Kit::new(On::Sqlite);
    let (store, auth) = closed_house(&mut kit).await;
    let old = StoredPassword { scram: None, ..stored(&secret("x")).unwrap() };
    store.add_account(&name("old"), &old, None).await.unwrap();
    let asked = async |auth: &Auth, user: &str| auth.scram_parameters(user, &caller(&local())).await.unwrap();
    let shape = |it: &ScramParameters| (it.salt.len(), it.iterations);
    let ann = asked(&auth, "ann").await;
    for user in ["nobody", "old", "bob@example.net", "", "a\u{1}b", "\"a b\""] {
        let first = asked(&auth, user).await;
        assert_eq!(first, asked(&auth, user).await, "{user}: always the same");
        assert_eq!(shape(&first), shape(&ann), "{user}");
        assert_ne!(first.salt, ann.salt, "{user}");
    }
    assert_eq!(asked(&auth, "Nobody@EXAMPLE.org").await, asked(&auth, "nobody").await);
    let before = asked(&auth, "nobody").await;
    store.close().await;
    let store = kit.open().await;
    let auth = Auth::new(store.clone(), Mode::Closed, domain("example.org"));
    assert_eq!(asked(&auth, "nobody").await, before, "after a restart too");
    assert_eq!(asked(&auth, "ann").await, ann);
    store.close().await;
}

#[tokio::test]
async fn a_repeated_login_is_quick_and_a_changed_password_counts_at_once() {
    let mut kit = Kit::new(On::Sqlite);
    let (store, auth) = closed_house(&mut kit).await;
    let verify = async |password| {
        let credentials = Credentials { user: "ann".into(), password: secret(password) };
        auth.verify(&credentials, &caller(&local())).await
    };
    verify("pencil").await.unwrap();
    let start = Instant::now();
    for _ in 0..300 {
        verify("pencil").await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(3), "300 hashes take longer: {:?}", start.elapsed());
    assert_eq!(verify("wrong").await, Err(Denied::Credentials));
    store.set_password(&name("ann"), &stored(&secret("another")).unwrap()).await.unwrap();
    assert_eq!(verify("pencil").await, Err(Denied::Credentials));
    verify("another").await.unwrap();
    store.remove_account(&name("ann")).await.unwrap();
    assert_eq!(verify("another").await, Err(Denied::Credentials));
    store.close().await;
}

#[tokio::test]
async fn ten_failures_over_all_ways_to_log_in_block_an_address_and_no_other() {
    let log = Log::default();
    let writer = log.clone();
    let logging = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(logging);
    let mut kit = Kit::new(On::Sqlite);
    let (store, auth) = closed_house(&mut kit).await;
    let peer = |text: &str| Peer::tcp(text.parse().unwrap());
    let (evil, neighbour) = (peer("[2001:db8:0:1::1]:1"), peer("[2001:db8:0:1::2]:1"));
    let with = |password| Credentials { user: "ann".into(), password: secret(password) };
    let proof =
        ScramProof { user: "ann".into(), auth_message: b"x".as_slice().into(), client_proof: [0; 32] };
    let mut tries = tokio::task::JoinSet::new();
    for nth in 0..10 {
        let (auth, proof, credentials) = (auth.clone(), proof.clone(), with("wrong"));
        tries.spawn(async move {
            let evidence = match nth % 4 {
                0 => Evidence::Scram(proof),
                2 => Evidence::Void(Fault::ChannelBinding),
                1 => Evidence::Password(credentials),
                _ => return auth.verify(&credentials, &caller(&evil)).await.map(drop),
            };
            auth.check(&evidence, &caller(&evil)).await.map(drop)
        });
    }
    // The block stands with the tenth failure, long before its answer.
    let blocked = async {
        while !auth.is_blocked(&evil) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), blocked).await.expect("ten failures block");
    tries.abort_all();
    let lines = log.text();
    assert_eq!(lines.matches("address blocked").count(), 1, "{lines}");
    assert!(
        lines
            .lines()
            .any(|line| line
                .ends_with("address blocked minutes=15 network=2001:db8:0:1::/64 ip=2001:db8:0:1::1")),
        "{lines}"
    );
    for blocked in [evil, neighbour] {
        assert!(auth.is_blocked(&blocked));
        assert_eq!(auth.verify(&with("pencil"), &caller(&blocked)).await, Err(Denied::Blocked));
        assert_eq!(auth.scram_parameters("ann", &caller(&blocked)).await, Err(Denied::Blocked));
        let evidence = Evidence::Scram(proof.clone());
        assert_eq!(auth.check(&evidence, &caller(&blocked)).await, Err(Denied::Blocked));
    }
    for other in [peer("[2001:db8:0:2::1]:1"), peer("192.0.2.1:1"), local(), Peer::Unix] {
        assert!(!auth.is_blocked(&other), "{other}");
        auth.verify(&with("pencil"), &caller(&other)).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn guesses_that_are_sent_in_parallel_are_not_free() {
    let mut kit = Kit::new(On::Sqlite);
    let (store, auth) = closed_house(&mut kit).await;
    let mut tries = tokio::task::JoinSet::new();
    for nth in 0..60 {
        let auth = auth.clone();
        tries.spawn(async move {
            let peer = Peer::tcp("192.0.2.9:1".parse().unwrap());
            let (user, auth_message) = ("ann".into(), b"x".as_slice().into());
            let proof = ScramProof { user, auth_message, client_proof: [nth; 32] };
            auth.check(&Evidence::Scram(proof), &caller(&peer)).await.map(drop)
        });
    }
    let answers = tries.join_all().await;
    let compared = answers.iter().filter(|answer| **answer == Err(Denied::Credentials)).count();
    assert_eq!(compared, 10, "the others find the address blocked: {answers:?}");
    store.close().await;
}

#[tokio::test]
async fn in_open_mode_every_password_is_right_and_scram_is_not_offered() {
    let mut kit = Kit::new(On::Sqlite);
    let store = kit.open().await;
    let auth = Auth::new(store.clone(), Mode::Open, domain("example.org"));
    assert_eq!(auth.mechanisms(&tls([1; 32])), [Mechanism::Plain, Mechanism::Login]);
    let (_, turn) = Exchange::begin(
        Mechanism::Plain,
        Some(b"AGFubgBhbnl0aGluZw=="),
        &Security::Plain,
        NONCE,
        Strictness::Full,
    );
    let Turn::Check(evidence) = turn else { panic!("{turn:?}") };
    let verified = auth.check(&evidence, &caller(&local())).await.unwrap();
    assert_eq!((verified.login.mailbox(), verified.signature), (&name("ann"), None));
    assert_eq!(auth.strictness(), Strictness::Lax);
    let closed = Auth::new(store.clone(), Mode::Closed, domain("example.org"));
    assert_eq!(closed.strictness(), Strictness::Full);
    assert_eq!(closed.mechanisms(&tls([1; 32])).first(), Some(&Mechanism::ScramSha256Plus));
    store.close().await;
}

#[tokio::test]
async fn in_open_mode_any_user_name_may_send_and_reads_what_a_mailbox_can_be_called() {
    let mut kit = Kit::new(On::Sqlite);
    let store = kit.open().await;
    let auth = Auth::new(store.clone(), Mode::Open, domain("example.org"));
    let peer = local();
    let long = "x".repeat(257);
    let read_as = |mailbox| Ok::<_, Denied>(name(mailbox));
    let nobody = Err(Denied::Credentials);
    for (user, sends_as, reads) in [
        ("ann", "ann", read_as("ann")),
        (r"CORP\app", r#""corp\\app"@example.org"#, read_as(r#""corp\\app"@example.org"#)),
        ("two words", r#""two words"@example.org"#, read_as(r#""two words"@example.org"#)),
        ("a@b@c", r#""a@b@c"@example.org"#, read_as(r#""a@b@c"@example.org"#)),
        ("x@localhost.", r#""x@localhost."@example.org"#, read_as(r#""x@localhost."@example.org"#)),
        ("", "somebody", nobody.clone()),
        ("a\nb", "somebody", nobody.clone()),
        (&long, "somebody", nobody.clone()),
    ] {
        let evidence = Evidence::Password(Credentials { user: user.into(), password: secret("") });
        let sending = Caller { purpose: Purpose::Sending, ..caller(&peer) };
        let sender = auth.check(&evidence, &sending).await.expect("anybody may send");
        assert_eq!(sender.login.mailbox(), &name(sends_as), "{user:?}");
        let reader = auth.check(&evidence, &caller(&peer)).await;
        assert_eq!(reader.map(|verified| verified.login.mailbox().clone()), reads, "{user:?}");
    }
    store.close().await;
}

fn mechanism() -> impl Strategy<Value = Mechanism> {
    let all = [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256, Mechanism::ScramSha256Plus];
    proptest::sample::select(all.to_vec())
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let text = "[nyp=,a-cr]{0,3},,[nr]=[a-z=,0-9]{0,12},r=[ -~]{0,12}(,p=[A-Za-z0-9=]{0,44})?";
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec(any::<u8>(), 0..200)
            .prop_map(|octets| STANDARD.encode(octets).into_bytes()),
        text.prop_map(|text| STANDARD.encode(text).into_bytes()),
        "\u{0}?[a-c\u{0}]{0,9}".prop_map(|text| STANDARD.encode(text).into_bytes()),
    ]
}

proptest! {
    #[test]
    fn no_lines_make_an_exchange_panic_or_end_well_without_a_verdict(
        mechanism in mechanism(),
        initial in proptest::option::of(line()),
        lines in proptest::collection::vec(line(), 0..6),
        bound in any::<bool>(),
    ) {
        let security = if bound { tls([3; 32]) } else { Security::Plain };
        let initial = initial.as_deref();
        let (mut exchange, mut turn) =
            Exchange::begin(mechanism, initial, &security, NONCE, Strictness::Full);
        for line in lines {
            if let Turn::Parameters(_) = &turn {
                let parameters = ScramParameters { salt: vec![1].into(), iterations: 4096 };
                turn = exchange.parameters(&parameters);
            }
            prop_assert!(!matches!(turn, Turn::Done), "nobody has said that it was right");
            turn = exchange.line(&line);
        }
        prop_assert!(!matches!(turn, Turn::Done));
    }
}
