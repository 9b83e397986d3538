//! TLS: the certificate and key that handshakes use, loaded again without dropping a session, and
//! the handshake itself.

use super::certificate::{self, Finding};
use super::stream::Stream;
use crate::mail::peer::TlsInfo;
use crate::wire::access::StartTls;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ParsedCertificate, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ProtocolVersion, ServerConfig, ServerConnection};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// Octets that TLS may hold back of what a peer is sent, before the writer has to wait.
const BUFFER_OCTETS_MAX: usize = 16 * 1024;
/// A client comes back with one ticket; each further one would only be work.
const TICKETS: usize = 1;
/// The name of POP3 in ALPN. SMTP has none that is registered, so nothing is negotiated for it.
const ALPN_POP3: &[u8] = b"pop3";
/// The channel binding `tls-exporter` (RFC 9266 §2).
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Why a certificate and a key cannot be used. One sentence: which file, what is wrong, what to do.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}; name a PEM file that this user may read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no PEM.
    #[error("{} is not sound PEM: {reason}; copy it again", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No certificate in the file.
    #[error("{0} holds no certificate; it needs the server's own first, then those between it and the root")]
    NoCertificate(PathBuf),
    /// No key in the file.
    #[error("{0} holds no private key in PEM; the key that belongs to the certificate is wanted")]
    NoKey(PathBuf),
    /// The key is behind a password that nobody could type in.
    #[error("the key in {0} is encrypted; write it without a password: openssl pkey -in OLD -out NEW")]
    EncryptedKey(PathBuf),
    /// They belong to different pairs.
    #[error(
        "the key in {} does not fit the first certificate in {}; they must be of one pair, and the \
         server's own certificate must come first",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A kind of key or certificate that TLS cannot work with.
    #[error("{} cannot be used for TLS: {reason}; ECDSA P-256 and RSA 2048 always can", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the library said.
        reason: rustls::Error,
    },
}

/// The certificate and key that new handshakes use. Cheap to clone; all clones see a reload.
#[derive(Clone, Debug)]
pub struct Keys {
    shared: Arc<Shared>,
    protocol: Protocol,
}

/// What a client may ask for by ALPN.
#[derive(Clone, Copy, Debug)]
enum Protocol {
    Unnamed,
    Pop3,
}

#[derive(Debug)]
struct Shared {
    certificate: PathBuf,
    private_key: PathBuf,
    provider: Arc<CryptoProvider>,
    /// Survives a reload, so that clients may resume. `None` when the system gave no random numbers.
    tickets: Option<Arc<dyn ProducesTickets>>,
    current: RwLock<Current>,
    /// How the files looked when they were last read, whatever came of it.
    seen: Mutex<Seen>,
}

#[derive(Clone, Debug)]
struct Current {
    leaf: CertificateDer<'static>,
    unnamed: Arc<ServerConfig>,
    pop3: Arc<ServerConfig>,
}

/// What tells one state of the two files from another.
type Seen = [Option<(u64, u64, i64, i64, u64)>; 2];

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

impl Encryption {
    /// Whether a client may ask for TLS.
    #[must_use]
    pub fn start_tls(&self) -> StartTls {
        match self {
            Encryption::OnRequest(_) => StartTls::Possible,
            Encryption::Off | Encryption::FromStart(_) => StartTls::Impossible,
        }
    }
}

impl Keys {
    /// Loads a certificate with its chain and its key, both PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(certificate: &Path, private_key: &Path) -> Result<Keys, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tickets = aws_lc_rs::Ticketer::new().ok();
        let seen = [certificate, private_key].map(|path| fs::metadata(path).ok().as_ref().map(stamp));
        let current = read(certificate, private_key, &provider, tickets.as_ref())?;
        let shared = Shared {
            certificate: certificate.to_owned(),
            private_key: private_key.to_owned(),
            provider,
            tickets,
            current: RwLock::new(current),
            seen: Mutex::new(seen),
        };
        Ok(Keys { shared: Arc::new(shared), protocol: Protocol::Unnamed })
    }

    /// The same, with what is wrong with each of the files, where [`Keys::load`] stops at the first.
    ///
    /// # Errors
    /// [`TlsError`]s, one at least.
    pub fn load_or_tell_all(certificate: &Path, private_key: &Path) -> Result<Keys, Vec<TlsError>> {
        Keys::load(certificate, private_key).map_err(|first| {
            let mut errors: Vec<_> = [usable_certificate(certificate).err(), usable_key(private_key).err()]
                .into_iter()
                .flatten()
                .collect();
            if errors.is_empty() {
                errors.push(first);
            }
            errors
        })
    }

    /// The same keys for POP3, whose name clients may ask for by ALPN.
    #[must_use]
    pub fn for_pop3(&self) -> Keys {
        Keys { shared: self.shared.clone(), protocol: Protocol::Pop3 }
    }

    /// Loads the files again, for handshakes that begin from now on. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`TlsError`]; then the old ones stay.
    pub fn reload(&self) -> Result<(), TlsError> {
        let shared = &*self.shared;
        let now = [&shared.certificate, &shared.private_key]
            .map(|path| fs::metadata(path).ok().as_ref().map(stamp));
        *shared.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let new = read(&shared.certificate, &shared.private_key, &shared.provider, shared.tickets.as_ref())?;
        *shared.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Looks at the files `every` so often and waits until they are others than those that were last
    /// read, and have stayed so for two looks: who renews writes one after the other. May be dropped
    /// and called again.
    pub async fn changed(&self, every: Duration) {
        let mut before = None;
        loop {
            tokio::time::sleep(every).await;
            let now = [look(&self.shared.certificate).await, look(&self.shared.private_key).await];
            let seen = *self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if now != seen && before == Some(now) {
                return;
            }
            before = Some(now);
        }
    }

    /// What an operator should know about the certificate and the files: see [`Finding`].
    #[must_use]
    pub fn inspect(&self, hostname: &str, now: SystemTime) -> Vec<Finding> {
        let leaf = self.current().leaf;
        let mut findings = certificate::inspect(&leaf, &self.shared.certificate, hostname, now);
        findings.extend(certificate::inspect_key_file(&self.shared.private_key));
        findings
    }

    fn current(&self) -> Current {
        self.shared.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn config(&self) -> Arc<ServerConfig> {
        let Current { unnamed, pop3, .. } = self.current();
        match self.protocol {
            Protocol::Unnamed => unnamed,
            Protocol::Pop3 => pop3,
        }
    }
}

fn stamp(file: &Metadata) -> (u64, u64, i64, i64, u64) {
    (file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.size())
}

async fn look(path: &Path) -> Option<(u64, u64, i64, i64, u64)> {
    tokio::fs::metadata(path).await.ok().as_ref().map(stamp)
}

/// Reads both files into what handshakes use.
fn read(
    certificate: &Path,
    private_key: &Path,
    provider: &Arc<CryptoProvider>,
    tickets: Option<&Arc<dyn ProducesTickets>>,
) -> Result<Current, TlsError> {
    let chain = read_chain(certificate)?;
    let leaf = chain.first().cloned().ok_or_else(|| TlsError::NoCertificate(certificate.to_owned()))?;
    let key = read_key(private_key)?;
    let pair = CertifiedKey::from_der(chain, key, provider).map_err(|reason| match reason {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { certificate: certificate.to_owned(), key: private_key.to_owned() }
        }
        rustls::Error::InvalidCertificate(_) => TlsError::Unusable { path: certificate.to_owned(), reason },
        reason => TlsError::Unusable { path: private_key.to_owned(), reason },
    })?;
    let resolver = Arc::new(SingleCertAndKey::from(pair));
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        // TLS 1.2 and 1.3, the suites with forward secrecy and nothing else.
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .map_err(|reason| TlsError::Unusable { path: certificate.to_owned(), reason })?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.send_tls13_tickets = TICKETS;
    if let Some(tickets) = tickets {
        config.ticketer = tickets.clone();
    }
    let mut pop3 = config.clone();
    pop3.alpn_protocols = vec![ALPN_POP3.to_vec()];
    Ok(Current { leaf, unnamed: Arc::new(config), pop3: Arc::new(pop3) })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read_file(path)?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| not_pem(path, &error))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read_file(path)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if memchr::memmem::find(&text, b"ENCRYPTED").is_some() => {
            Err(TlsError::EncryptedKey(path.to_owned()))
        }
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey(path.to_owned())),
        Err(error) => Err(not_pem(path, &error)),
    }
}

/// That TLS could work with a certificate if there were its key.
fn usable_certificate(path: &Path) -> Result<(), TlsError> {
    let leaf = read_chain(path)?.into_iter().next();
    let leaf = leaf.ok_or_else(|| TlsError::NoCertificate(path.to_owned()))?;
    let parsed = ParsedCertificate::try_from(&leaf).map(drop);
    parsed.map_err(|reason| TlsError::Unusable { path: path.to_owned(), reason })
}

/// That TLS could work with a key if there were its certificate.
fn usable_key(path: &Path) -> Result<(), TlsError> {
    let loaded = aws_lc_rs::default_provider().key_provider.load_private_key(read_key(path)?);
    loaded.map(drop).map_err(|reason| TlsError::Unusable { path: path.to_owned(), reason })
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn not_pem(path: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "it ends in the middle".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is broken".to_owned(),
        pem::Error::Base64Decode(_) => "its base64 is broken".to_owned(),
        other => other.to_string(),
    };
    TlsError::Pem { path: path.to_owned(), reason }
}

/// Begins TLS on a plain stream, as the server. When it fails, the peer has been sent the alert and
/// the stream is given back, for nothing but its end.
pub(super) async fn handshake(stream: Stream, keys: &Keys) -> Result<(Stream, TlsInfo), (io::Error, Stream)> {
    let acceptor = TlsAcceptor::from(keys.config());
    let bounded = |session: &mut ServerConnection| session.set_buffer_limit(Some(BUFFER_OCTETS_MAX));
    let accept = acceptor.accept_with(stream, bounded).into_fallible();
    let stream = Box::pin(accept).await?;
    let info = info(stream.get_ref().1);
    Ok((Stream::Tls(Box::new(stream)), info))
}

fn info(session: &ServerConnection) -> TlsInfo {
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".into(),
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".into(),
        other => format!("{other:?}").into(),
    };
    let cipher = session
        .negotiated_cipher_suite()
        .map_or("unknown", |suite| suite.suite().as_str().unwrap_or("unknown"));
    TlsInfo { version, cipher: cipher.into(), exporter: exporter(session) }
}

// RFC 9266 §4.2: below TLS 1.3 the value is unique only with the extended master secret, and the
// library does not tell whether it was used.
fn exporter(session: &ServerConnection) -> Option<[u8; 32]> {
    if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    // RFC 9266 §2: 32 octets, and a context that is there and empty.
    session.export_keying_material([0; 32], EXPORTER_LABEL, Some(b"")).ok()
}
