//! TLS below the protocols: what a handshake leaves behind, what a broken one does, and how keys are
//! exchanged while sessions live.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

use bytes::BytesMut;
use pillarbox::mail::peer::TlsInfo;
use pillarbox::net::conn::{Conn, ConnError, Ending, Got, Waiting};
use pillarbox::net::stream::Stream;
use pillarbox::net::tls::{Keys, TlsError};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::LinesCodec;

const PATIENCE: Duration = Duration::from_secs(20);
const NAME: &str = "mx.example.org";

/// A certificate that is its own authority, in files.
struct Files {
    dir: tempfile::TempDir,
    certificate: CertificateDer<'static>,
}

fn pair() -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![NAME.to_owned()]).expect("parameters");
    (params.self_signed(&key).expect("a certificate"), key)
}

impl Files {
    fn new() -> Files {
        let dir = tempfile::tempdir().expect("a directory");
        let mut files = Files { dir, certificate: CertificateDer::from(Vec::new()) };
        files.renew();
        files
    }

    fn renew(&mut self) {
        let (certificate, key) = pair();
        std::fs::write(self.certificate(), certificate.pem()).expect("written");
        std::fs::write(self.key(), key.serialize_pem()).expect("written");
        self.certificate = certificate.der().clone();
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    fn load(&self) -> Result<Keys, TlsError> {
        Keys::load(&self.certificate(), &self.key())
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).expect("versions");
        builder.with_root_certificates(roots).with_no_client_auth()
    }
}

async fn connect<IO>(config: ClientConfig, stream: IO) -> io::Result<TlsStream<IO>>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let name = ServerName::try_from(NAME).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Two ends of a TCP connection: the server's as a driver has it, the client's bare.
async fn tcp(ending: Ending) -> (Conn, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).await.expect("connected");
    let (server, _) = listener.accept().await.expect("accepted");
    (Conn::new(Stream::Tcp(server), ending), client)
}

/// Reads a line as a driver would.
async fn line(conn: &mut Conn) -> Result<String, ConnError> {
    let mut lines = Lines(LinesCodec::new());
    match conn.frame(&mut lines, Waiting::Command, PATIENCE).await? {
        Got::Frame(line) => Ok(line),
        other => panic!("{other:?}"),
    }
}

struct Lines(LinesCodec);

impl tokio_util::codec::Decoder for Lines {
    type Item = String;
    type Error = io::Error;

    fn decode(&mut self, octets: &mut BytesMut) -> io::Result<Option<String>> {
        self.0.decode(octets).map_err(io::Error::other)
    }
}

async fn say(conn: &mut Conn, text: &str) {
    conn.output().extend_from_slice(text.as_bytes());
    conn.flush(PATIENCE).await.expect("sent");
}

/// A session over TLS, both ends.
async fn session(keys: &Keys, config: ClientConfig) -> (Conn, TlsInfo, TlsStream<TcpStream>) {
    let (mut conn, client) = tcp(Ending::default()).await;
    let (info, client) = tokio::join!(conn.secure(keys, PATIENCE), connect(config, client));
    (conn, info.expect("the server's half"), client.expect("the client's half"))
}

/// A line there and one back.
async fn ping(conn: &mut Conn, client: &mut TlsStream<TcpStream>) {
    client.write_all(b"ping\r\n").await.expect("sent");
    assert_eq!(line(conn).await.expect("a line"), "ping");
    say(conn, "pong\r\n").await;
    let mut answer = [0; 6];
    client.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"pong\r\n");
}

#[tokio::test]
async fn a_handshake_tells_its_version_and_cipher() {
    let files = Files::new();
    let keys = files.load().expect("keys");
    for (version, name, cipher) in [
        (&rustls::version::TLS13, "TLSv1.3", "TLS13_AES_"),
        (&rustls::version::TLS12, "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_"),
    ] {
        let (mut conn, info, mut client) = session(&keys, files.client(&[version])).await;
        assert_eq!(&*info.version, name);
        assert!(info.cipher.starts_with(cipher), "{info:?}");
        ping(&mut conn, &mut client).await;
    }
}

// proves: RFC 9266 §2
// proves: RFC 9266 §4.2
#[tokio::test]
async fn both_ends_know_the_channel_binding_of_tls_1_3_and_there_is_none_below() {
    let files = Files::new();
    let keys = files.load().expect("keys");
    let (_, info, client) = session(&keys, files.client(&[&rustls::version::TLS13])).await;
    let label = b"EXPORTER-Channel-Binding";
    let of_client = client.get_ref().1.export_keying_material([0; 32], label, Some(b"")).expect("exported");
    assert_eq!(info.exporter, Some(of_client));
    let (_, info, _) = session(&keys, files.client(&[&rustls::version::TLS12])).await;
    assert_eq!(info.exporter, None);
}

#[tokio::test]
async fn what_came_before_the_handshake_is_never_a_command() {
    let files = Files::new();
    let keys = files.load().expect("keys");
    let (mut conn, mut client) = tcp(Ending::default()).await;
    client.write_all(b"STARTTLS\r\nMAIL FROM:<injected>\r\nRCPT").await.expect("sent");
    assert_eq!(line(&mut conn).await.expect("a line"), "STARTTLS");
    conn.output().extend_from_slice(b"220 go ahead\r\n");
    let config = files.client(rustls::DEFAULT_VERSIONS);
    let dial = async {
        let mut answer = [0; 14];
        client.read_exact(&mut answer).await.expect("the answer leaves before the handshake");
        assert_eq!(&answer, b"220 go ahead\r\n");
        connect(config, client).await.expect("the client's half")
    };
    let (info, mut client) = tokio::join!(conn.secure(&keys, PATIENCE), dial);
    info.expect("the server's half");
    ping(&mut conn, &mut client).await;
}

#[tokio::test]
async fn a_failed_handshake_ends_its_own_session_with_an_alert_and_no_other() {
    let files = Files::new();
    let keys = files.load().expect("keys");
    let (mut other, _, mut other_client) = session(&keys, files.client(rustls::DEFAULT_VERSIONS)).await;

    let (mut conn, mut client) = tcp(Ending::default()).await;
    client.write_all(b"EHLO in the clear\r\n").await.expect("sent");
    let alert = async {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.expect("an orderly end");
        rest
    };
    let (failed, alert) = tokio::join!(conn.secure(&keys, PATIENCE), alert);
    assert!(matches!(failed, Err(ConnError::Handshake(_))), "{failed:?}");
    assert_eq!(alert.first(), Some(&21), "the type of an alert: {alert:?}");
    conn.output().extend_from_slice(b"250 never in the clear\r\n");
    assert!(conn.flush(PATIENCE).await.is_err());

    // A client that does not trust the certificate gives up by itself.
    let stranger = Files::new();
    let (mut conn, client) = tcp(Ending::default()).await;
    let dial = connect(stranger.client(rustls::DEFAULT_VERSIONS), client);
    let (_, dialled) = tokio::join!(conn.secure(&keys, PATIENCE), dial);
    assert!(dialled.is_err());

    ping(&mut other, &mut other_client).await;
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_given_up() {
    let files = Files::new();
    let keys = files.load().expect("keys");
    let (mut conn, _client) = tcp(Ending::default()).await;
    let waited = conn.secure(&keys, Duration::from_millis(50)).await;
    assert!(
        matches!(&waited, Err(ConnError::Handshake(e)) if e.kind() == io::ErrorKind::TimedOut),
        "{waited:?}"
    );

    let ending = Ending::default();
    let (mut conn, _client) = tcp(ending.clone()).await;
    ending.cut.cancel();
    let cut = conn.secure(&keys, PATIENCE).await;
    assert!(matches!(cut, Err(ConnError::Cut)), "{cut:?}");

    let ending = Ending::default();
    let (mut conn, _client) = tcp(ending.clone()).await;
    ending.stop.cancel();
    let stopped = conn.secure(&keys, PATIENCE).await;
    assert!(matches!(stopped, Err(ConnError::Cut)), "a stop does not wait for it: {stopped:?}");
}

#[tokio::test]
async fn an_end_is_announced_and_one_that_is_not_is_the_loss_of_the_peer() {
    let files = Files::new();
    let keys = files.load().expect("keys");
    let (mut conn, _, mut client) = session(&keys, files.client(rustls::DEFAULT_VERSIONS)).await;
    ping(&mut conn, &mut client).await;
    let (tcp, _) = client.into_inner();
    drop(tcp);
    assert!(matches!(line(&mut conn).await, Err(ConnError::Gone)));

    let (mut conn, _, mut client) = session(&keys, files.client(rustls::DEFAULT_VERSIONS)).await;
    conn.output().extend_from_slice(b"221 bye\r\n");
    let read = async {
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.expect("an end that was announced");
        drop(client);
        all
    };
    let (closed, all) = tokio::join!(conn.close(PATIENCE), read);
    closed.expect("closed");
    assert_eq!(all, b"221 bye\r\n");
}

#[tokio::test]
async fn a_large_answer_crosses_whole_to_a_client_that_reads_slowly() {
    let files = Files::new();
    let keys = files.load().expect("keys");
    let (mut conn, _, mut client) = session(&keys, files.client(rustls::DEFAULT_VERSIONS)).await;
    let answer: Vec<u8> = (0..4_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
    conn.output().extend_from_slice(&answer);
    let read = async {
        let mut all = Vec::new();
        let mut some = [0; 1_000];
        while all.len() < answer.len() {
            let n = client.read(&mut some).await.expect("a piece");
            all.extend_from_slice(&some[..n]);
            tokio::task::yield_now().await;
        }
        all
    };
    let (sent, all) = tokio::join!(conn.flush(PATIENCE), read);
    sent.expect("sent");
    assert!(all == answer);
}

#[tokio::test]
async fn tls_works_over_a_unix_socket_too() {
    let files = Files::new();
    let keys = files.load().expect("keys");
    let (server, client) = UnixStream::pair().expect("a pair");
    let mut conn = Conn::new(Stream::Unix(server), Ending::default());
    let dial = connect(files.client(rustls::DEFAULT_VERSIONS), client);
    let (info, mut client) = tokio::join!(conn.secure(&keys, PATIENCE), async { dial.await.expect("TLS") });
    info.expect("TLS");
    client.write_all(b"ping\r\n").await.expect("sent");
    assert_eq!(line(&mut conn).await.expect("a line"), "ping");
}

#[tokio::test]
async fn pop3_is_named_in_alpn_and_what_is_not_registered_is_not() {
    let files = Files::new();
    let keys = files.load().expect("keys");
    let mut config = files.client(rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"pop3".to_vec()];
    let (_, _, client) = session(&keys.for_pop3(), config.clone()).await;
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"pop3"[..]));
    let (_, _, client) = session(&keys, config.clone()).await;
    assert_eq!(client.get_ref().1.alpn_protocol(), None);
    // A browser that was led to a POP3 port by a page is refused before it says anything.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (mut conn, client) = tcp(Ending::default()).await;
    let keys = keys.for_pop3();
    let (refused, dialled) = tokio::join!(conn.secure(&keys, PATIENCE), connect(config, client));
    assert!(refused.is_err() && dialled.is_err());
}

#[tokio::test]
async fn a_reload_is_for_new_handshakes_and_leaves_sessions_alone() {
    let mut files = Files::new();
    let keys = files.load().expect("keys");
    let old = files.client(rustls::DEFAULT_VERSIONS);
    let (mut conn, _, mut client) = session(&keys, old.clone()).await;
    files.renew();
    keys.clone().reload().expect("loaded again");
    ping(&mut conn, &mut client).await;
    let (mut conn, _, mut client) = session(&keys, files.client(rustls::DEFAULT_VERSIONS)).await;
    ping(&mut conn, &mut client).await;
    let (mut conn, client) = tcp(Ending::default()).await;
    let mut fresh = old;
    fresh.resumption = rustls::client::Resumption::disabled();
    let (_, dialled) = tokio::join!(conn.secure(&keys, PATIENCE), connect(fresh, client));
    assert!(dialled.is_err(), "the old certificate is gone");
}

#[tokio::test]
async fn broken_new_files_are_told_and_the_old_ones_stay() {
    let files = Files::new();
    let keys = files.load().expect("keys");
    let (certificate, key) = (files.certificate(), files.key());
    let sound = [std::fs::read_to_string(&certificate).unwrap(), std::fs::read_to_string(&key).unwrap()];
    let (other, other_key) = pair();
    let cut = &sound[0][..sound[0].len() / 2];
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (new_certificate, new_key, says) in [
        (sound[0].as_str(), other_key.serialize_pem().as_str(), "does not fit the first certificate in"),
        (&other.pem(), &sound[1], "does not fit the first certificate in"),
        ("", &sound[1], "holds no certificate"),
        ("nonsense", &sound[1], "holds no certificate"),
        (cut, &sound[1], "is not sound PEM: it ends in the middle"),
        (&sound[0], "", "holds no private key"),
        (&sound[0], &sound[0], "holds no private key"),
        (&sound[0], encrypted, "is encrypted; write it without a password"),
    ] {
        std::fs::write(&certificate, new_certificate).unwrap();
        std::fs::write(&key, new_key).unwrap();
        let error = keys.reload().expect_err(says).to_string();
        assert!(error.contains(says) && error.contains(".pem"), "{error}");
        assert!(files.load().is_err());
        let (mut conn, _, mut client) = session(&keys, files.client(rustls::DEFAULT_VERSIONS)).await;
        ping(&mut conn, &mut client).await;
    }
    std::fs::remove_file(&key).unwrap();
    let error = keys.reload().expect_err("no file").to_string();
    assert!(error.contains("key.pem cannot be read: No such file"), "{error}");
}

#[tokio::test]
async fn files_that_have_changed_are_noticed_once() {
    let mut files = Files::new();
    let keys = files.load().expect("keys");
    let soon = || tokio::time::timeout(Duration::from_millis(300), keys.changed(Duration::from_millis(10)));
    assert!(soon().await.is_err(), "nothing has changed");
    files.renew();
    keys.changed(Duration::from_millis(10)).await;
    std::fs::write(files.key(), "broken").unwrap();
    assert!(keys.reload().is_err());
    assert!(soon().await.is_err(), "a broken file is tried once");
}
