//! A byte stream to a peer: TCP or a unix socket, plain or within TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// The kinds of stream that a session may speak over.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
    /// TLS over one of the others. Boxed: it is large, and most streams of a catcher are plain.
    Tls(Box<TlsStream<Stream>>),
    /// The handshake failed or was given up: there is nobody to speak to any more.
    Closed,
}

impl Stream {
    /// Writes what the kernel takes at once; for a refusal nobody should wait for.
    ///
    /// # Errors
    /// What the socket says, `WouldBlock` included.
    pub fn try_write(&self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.try_write(octets),
            Stream::Unix(s) => s.try_write(octets),
            Stream::Tls(_) | Stream::Closed => Err(closed()),
        }
    }

    /// Lets the kernel confirm to the peer at once what has come. It only helps: what a system cannot do is
    /// left out.
    pub fn confirm(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Stream::Tcp(s) => {
                let _ = s.set_quickack(true);
            }
            Stream::Tls(s) => s.get_ref().0.confirm(),
            _ => {}
        }
    }
}

fn closed() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Closed => Poll::Ready(Err(closed())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Unix(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Closed => Poll::Ready(Err(closed())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(s) => Pin::new(s).poll_flush(cx),
            Stream::Unix(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s).poll_flush(cx),
            Stream::Closed => Poll::Ready(Err(closed())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Unix(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tls(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Closed => Poll::Ready(Ok(())),
        }
    }
}
