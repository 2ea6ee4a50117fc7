//! A listener with or without TLS, for `axum::serve`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::peer::Peer;

/// Longer, a client that opens a connection and says nothing would hold its place.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Handshakes under way at the same time; further connections wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 256;
/// After a failure that the next attempt would meet as well, such as too many open files.
const REST: Duration = Duration::from_millis(200);

type Secured = (TlsStream<TcpStream>, SocketAddr);

/// Accepts connections; with TLS the handshakes run beside each other, so that a slow one holds up nobody.
#[derive(Debug)]
pub struct HttpListener {
    tcp: TcpListener,
    security: Security,
}

enum Security {
    Plain,
    Tls { acceptor: TlsAcceptor, handshakes: JoinSet<Option<Secured>> },
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Tls { .. } => "Tls",
        })
    }
}

impl HttpListener {
    /// Binds `address`, with TLS if there is a configuration for it.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let security = match tls {
            None => Security::Plain,
            Some(config) => Security::Tls { acceptor: config.into(), handshakes: JoinSet::new() },
        };
        Ok(Self { tcp, security })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl axum::serve::Listener for HttpListener {
    type Io = Either<TcpStream, TlsStream<TcpStream>>;
    type Addr = Peer;

    /// May be dropped at its await: connections and handshakes are kept in `self`.
    async fn accept(&mut self) -> (Self::Io, Peer) {
        loop {
            match &mut self.security {
                Security::Plain => {
                    let (stream, addr) = accepted(&self.tcp).await;
                    return (Either::Left(stream), Peer::Local(addr));
                }
                Security::Tls { acceptor, handshakes } => {
                    let room = handshakes.len() < HANDSHAKES_MAX;
                    tokio::select! {
                        Some(ended) = handshakes.join_next() => {
                            if let Ok(Some((stream, addr))) = ended && let Some(peer) = certified(&stream, addr) {
                                return (Either::Right(stream), peer);
                            }
                        }
                        (stream, addr) = accepted(&self.tcp), if room => {
                            handshakes.spawn(handshake(acceptor.clone(), stream, addr));
                        }
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        self.tcp.local_addr().map(Peer::Local)
    }
}

async fn accepted(tcp: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match tcp.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, addr: SocketAddr) -> Option<Secured> {
    match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => return Some((stream, addr)),
        Ok(Err(error)) => tracing::warn!(%addr, %error, "TLS handshake failed"),
        Err(_) => tracing::warn!(%addr, "TLS handshake not ended in time"),
    }
    None
}

fn certified(stream: &TlsStream<TcpStream>, addr: SocketAddr) -> Option<Peer> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?.clone().into_owned();
    Some(Peer::Certified { addr, certificate })
}
