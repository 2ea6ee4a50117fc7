//! Who is at the other end of a connection.

use std::net::SocketAddr;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

use super::listener::HttpListener;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Over a listener without TLS, which only this machine can reach.
    Local(SocketAddr),
    /// Over mutual TLS, with the certificate that the handshake verified.
    Certified {
        /// Address and port.
        addr: SocketAddr,
        /// The client's own certificate, DER.
        certificate: CertificateDer<'static>,
    },
}

impl Peer {
    /// Whether this peer may speak as `name`: its certificate has that DNS name among its subject alternative names.
    /// A local peer may speak as anybody.
    pub fn is(&self, name: &str) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Certified { .. } => self.is_certified_as(name),
        }
    }

    /// Whether this peer has shown a certificate with the DNS name `name`. A local peer has shown none.
    pub fn is_certified_as(&self, name: &str) -> bool {
        match self {
            Self::Local(_) => false,
            Self::Certified { certificate, .. } => {
                let Ok(name) = ServerName::try_from(name) else { return false };
                EndEntityCert::try_from(certificate)
                    .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
            }
        }
    }
}

impl Connected<IncomingStream<'_, HttpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, HttpListener>) -> Self {
        stream.remote_addr().clone()
    }
}
