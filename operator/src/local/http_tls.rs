//! Certificates for mutual TLS between the hub and those who ask it: producer, operator, auditor. Their authority is made for one system, and its key is never
//! written down.

use plumbing::http::MutualTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use schemas::ids::UpstreamId;

use super::addresses::HUB_HOST;
use super::secret_file::{self, WriteError};
use super::settings::{AUDITOR, Files, OPERATOR};

/// Certificates cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    /// They cannot be made.
    #[error(transparent)]
    Make(#[from] rcgen::Error),
    /// They cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// PEM texts.
pub(super) struct Certificates {
    authority: String,
    pairs: Vec<(&'static str, Pair)>,
}

struct Pair {
    certificate: String,
    key: String,
}

impl Certificates {
    /// The hub as this machine or its container, the producer as its upstream, the others as what they are.
    pub(super) fn make(upstream: &UpstreamId) -> Result<Self, CertificateError> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // With one name for both, OpenSSL takes whom it signed for signed by themselves.
        authority.distinguished_name.push(DnType::CommonName, "cardquery local authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let pair = |names: &[String]| -> Result<Pair, CertificateError> {
            let key = KeyPair::generate()?;
            let certificate = CertificateParams::new(names.to_vec())?.signed_by(&key, &authority)?;
            Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
        };
        Ok(Self {
            pairs: vec![
                ("aggregator", pair(&["localhost", "127.0.0.1", HUB_HOST].map(str::to_owned))?),
                ("producer", pair(&[format!("upstream-{upstream}")])?),
                (OPERATOR, pair(&[OPERATOR.to_owned()])?),
                (AUDITOR, pair(&[AUDITOR.to_owned()])?),
            ],
            authority: authority.pem(),
        })
    }

    pub(super) fn write(&self, files: &Files<'_>) -> Result<(), CertificateError> {
        for (name, pair) in &self.pairs {
            let MutualTls { certificate_file, key_file, ca_file } = files.tls(name);
            secret_file::write(&certificate_file, &pair.certificate)?;
            secret_file::write(&key_file, &pair.key)?;
            secret_file::write(&ca_file, &self.authority)?;
        }
        Ok(())
    }
}
