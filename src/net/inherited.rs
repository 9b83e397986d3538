//! Sockets that a supervising system has bound for us, as systemd does: port 25 without any right.

use super::listener::Listener;
use listenfd::ListenFd;
use std::io;
use thiserror::Error;

/// What systemd calls a socket whose unit gives it no name.
const NAMELESS: &str = "unknown";

/// Why a socket that was handed over cannot be listened on.
#[derive(Debug, Error)]
pub enum InheritedError {
    /// Its name is not that of a kind of listener.
    #[error(
        "the system hands over a socket called \"{name}\"; write FileDescriptorName= with one of {kinds} \
         into its unit"
    )]
    Unknown {
        /// What it is called.
        name: String,
        /// What it may be called.
        kinds: String,
    },
    /// It is not a socket that connections come in by.
    #[error("the socket \"{name}\" that the system hands over cannot be listened on: {source}")]
    Unusable {
        /// What it is called.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The sockets that were handed over, by the kind of listener that each is for.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Socket>,
}

#[derive(Debug)]
struct Socket {
    kind: &'static str,
    shown: String,
    listener: Bound,
}

#[derive(Debug)]
enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Inherited {
    /// Takes over what there is. The variables that tell of it are removed, so call this while there is
    /// only one thread.
    ///
    /// # Errors
    /// [`InheritedError`] for the first socket that is of no use.
    pub fn take(kinds: &[&'static str]) -> Result<Inherited, InheritedError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut handed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..handed.len() {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or(NAMELESS);
            let Some(kind) = kinds.iter().find(|kind| **kind == name) else {
                return Err(InheritedError::Unknown { name: name.to_owned(), kinds: kinds.join(", ") });
            };
            let unusable = |source| InheritedError::Unusable { name: name.to_owned(), source };
            let listener = take_one(&mut handed, index).map_err(unusable)?;
            let shown = listener.shown().map_err(unusable)?;
            sockets.push(Socket { kind, shown, listener });
        }
        Ok(Inherited { sockets })
    }

    /// For each kind that was handed over: where its sockets are bound, as a list with commas.
    #[must_use]
    pub fn places(&self) -> Vec<(&'static str, String)> {
        let mut places: Vec<(&'static str, String)> = Vec::new();
        for Socket { kind, shown, .. } in &self.sockets {
            match places.iter_mut().find(|(known, _)| known == kind) {
                Some((_, list)) => {
                    list.push(',');
                    list.push_str(shown);
                }
                None => places.push((kind, shown.clone())),
            }
        }
        places
    }

    /// The sockets of one kind, each with where it is bound; they are given once. Needs the runtime.
    ///
    /// # Errors
    /// [`InheritedError::Unusable`].
    pub fn listeners(&mut self, kind: &str) -> Result<Vec<(Listener, String)>, InheritedError> {
        let of_kind = self.sockets.extract_if(.., |socket| socket.kind == kind);
        let ours = |Socket { kind, shown, listener }| {
            let listener = listener
                .into_listener()
                .map_err(|source| InheritedError::Unusable { name: kind.to_owned(), source })?;
            Ok((listener, shown))
        };
        of_kind.map(ours).collect()
    }
}

fn take_one(handed: &mut ListenFd, index: usize) -> io::Result<Bound> {
    // A socket of another family is left in its place by the first question.
    if let Ok(Some(listener)) = handed.take_tcp_listener(index) {
        return Ok(Bound::Tcp(listener));
    }
    let listener = handed.take_unix_listener(index)?;
    listener.map(Bound::Unix).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Bound {
    fn shown(&self) -> io::Result<String> {
        match self {
            Bound::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
            Bound::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().ok_or_else(|| io::Error::other("it has no path"))?;
                Ok(format!("unix:{}", path.display()))
            }
        }
    }

    fn into_listener(self) -> io::Result<Listener> {
        match self {
            Bound::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Listener::Tcp(tokio::net::TcpListener::from_std(listener)?))
            }
            Bound::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Listener::Unix(tokio::net::UnixListener::from_std(listener)?))
            }
        }
    }
}
