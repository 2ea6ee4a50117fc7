//! The one way to make an HTTP client.

use reqwest::{Client, redirect};
use rustls::{ClientConfig, RootCertStore};

use super::mutual_tls::{MutualTls, TlsError, builder};

/// A client that goes where it is told and nowhere else: no proxy of the environment, no redirects. Without `tls` it
/// believes no certificate, so it speaks plain HTTP only.
///
/// # Errors
/// [`TlsError`].
///
/// # Panics
/// When the operating system has no randomness, without which nothing here can run.
pub fn client(tls: Option<&MutualTls>) -> Result<Client, TlsError> {
    let config = match tls {
        Some(tls) => tls.client()?,
        None => builder(ClientConfig::builder_with_provider)
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth(),
    };
    // Without a configuration of its own reqwest looks for a provider that the process would have to install.
    let client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(config)
        .build();
    Ok(client.expect("a client with a complete TLS configuration can be made"))
}
