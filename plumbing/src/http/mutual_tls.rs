//! Keys and certificates for both ends of a connection, from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ConfigBuilder, ConfigSide, RootCertStore, ServerConfig, WantsVerifier, WantsVersions,
};
use serde::Deserialize;

use crate::exit::Exit;

/// A `[…tls]` section: who this side is, and whose certificates it believes. The same three files serve a listener
/// and a client.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MutualTls {
    /// PEM file with this side's certificate, then the intermediate ones.
    pub certificate_file: PathBuf,
    /// PEM file with its private key.
    pub key_file: PathBuf,
    /// PEM file with the certificate authorities that the other side's certificate must come from.
    pub ca_file: PathBuf,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, or holds no PEM of the kind that is needed.
    #[error("{}: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// No certificate authority is in the file.
    #[error("{}: holds no certificate", .0.display())]
    NoAuthority(PathBuf),
    /// Certificate and key do not belong together, or are of no use.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The authorities cannot be used to verify clients.
    #[error("{}: {source}", path.display())]
    Authorities {
        /// The authorities' file.
        path: PathBuf,
        /// Why.
        source: rustls::server::VerifierBuilderError,
    },
}

impl TlsError {
    /// The exit code of a process that ends with this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Pem { .. } => Exit::NoInput,
            Self::NoAuthority(_) | Self::Certificate { .. } | Self::Authorities { .. } => Exit::Config,
        }
    }
}

impl MutualTls {
    /// For a listener: a client without a certificate of these authorities does not get past the handshake.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn server(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.authorities()?), provider())
            .build()
            .map_err(|source| TlsError::Authorities { path: self.ca_file.clone(), source })?;
        let mut config = builder(ServerConfig::builder_with_provider)
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.certificates()?, self.key()?)
            .map_err(|source| self.unusable(source))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// For a client: a server whose certificate is not of these authorities, or not for its name, is refused.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn client(&self) -> Result<ClientConfig, TlsError> {
        builder(ClientConfig::builder_with_provider)
            .with_root_certificates(self.authorities()?)
            .with_client_auth_cert(self.certificates()?, self.key()?)
            .map_err(|source| self.unusable(source))
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates(&self.ca_file)?);
        if added == 0 {
            return Err(TlsError::NoAuthority(self.ca_file.clone()));
        }
        Ok(roots)
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.certificate_file)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_file(&self.key_file)
            .map_err(|source| TlsError::Pem { path: self.key_file.clone(), source })
    }

    fn unusable(&self, source: rustls::Error) -> TlsError {
        TlsError::Certificate { path: self.certificate_file.clone(), source }
    }
}

/// The provider is named everywhere: a process-wide one could be set by any crate.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Both ends of TLS 1.2 and 1.3.
pub(super) fn builder<S: ConfigSide>(
    with_provider: impl FnOnce(Arc<CryptoProvider>) -> ConfigBuilder<S, WantsVersions>,
) -> ConfigBuilder<S, WantsVerifier> {
    with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for the default versions")
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |source| TlsError::Pem { path: path.to_owned(), source };
    CertificateDer::pem_file_iter(path).map_err(pem)?.collect::<Result<_, _>>().map_err(pem)
}
