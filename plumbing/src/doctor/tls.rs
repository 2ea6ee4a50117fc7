//! The brokers' certificates, seen in a handshake of our own, and the client's own certificate.
//!
//! librdkafka tells that a handshake failed and hardly why, and never when a certificate will expire. Nothing is sent on
//! these connections.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::network::Endpoint;
use super::report::{Report, State};
use crate::exit::Exit;
use crate::kafka::{KafkaConfig, KafkaError};

const CHECK: &str = "tls";
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// A broker of TLS 1.3 refuses a client's certificate after the client's handshake is over.
const REFUSED_WITHIN: Duration = Duration::from_millis(500);
const SOON_DAYS: i64 = 30;
const RENEW: &str = "renew it: docs/operating.md, Certificates";

/// Looks at the certificates on the way to `brokers`. Returns whether a client can get through.
pub async fn tls(kafka: &KafkaConfig, brokers: &[Endpoint], now_ms: i64, report: &mut Report) -> bool {
    let settings = match Settings::read(kafka) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            let fix =
                "kafka.properties: set security.protocol to sasl_ssl, unless this is a network of your own";
            report.add(CHECK, "not used: records and passwords travel in the clear", State::warning(fix));
            return true;
        }
        Err((what, fix)) => {
            report.add(CHECK, what, State::failed(Exit::Config, fix));
            return false;
        }
    };
    let mut through = settings.own_certificate(now_ms, report);
    let seen = join_all(brokers.iter().map(|broker| settings.shake(broker))).await;
    for (broker, seen) in brokers.iter().zip(seen) {
        let (what, state) = judged(&broker.host, seen, now_ms);
        through &= !matches!(state, State::Failed { .. });
        report.add(CHECK, what, state);
    }
    through
}

/// What the settings say about TLS.
struct Settings {
    roots: Arc<RootCertStore>,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    checks_names: bool,
}

/// A mistake, and what to do about it.
type Mistake = (String, String);

impl Settings {
    /// `None` when TLS is not used.
    fn read(kafka: &KafkaConfig) -> Result<Option<Self>, Mistake> {
        let told =
            |error: KafkaError| (error.to_string(), "kafka.property_files: name a readable file".to_owned());
        let property = |name: &str| kafka.property(name).map_err(told);
        let native = |name: &str| kafka.native_property(name).map_err(told);
        if !native("security.protocol")?.to_lowercase().ends_with("ssl") {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        let authorities = pem("ssl.ca.location", property("ssl.ca.location")?, property("ssl.ca.pem")?)?;
        let Some(authorities) = authorities else {
            let fix = "kafka.properties: name the authority's PEM file in ssl.ca.location";
            return Err(("which authority is believed is not set".to_owned(), fix.to_owned()));
        };
        let (added, _) = roots.add_parsable_certificates(certificates("ssl.ca.location", &authorities)?);
        if added == 0 {
            let fix = "kafka.properties: name a PEM file with the authority's certificate in ssl.ca.location";
            return Err(("ssl.ca.location holds no certificate".to_owned(), fix.to_owned()));
        }
        let certificate = pem(
            "ssl.certificate.location",
            property("ssl.certificate.location")?,
            property("ssl.certificate.pem")?,
        )?;
        let key = pem("ssl.key.location", property("ssl.key.location")?, property("ssl.key.pem")?)?;
        let own = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| {
                    let fix = "give the private key without a passphrase, readable by this user only";
                    ("ssl.key.location holds no private key that can be read".to_owned(), fix.to_owned())
                })?;
                Some((certificates("ssl.certificate.location", &certificate)?, key))
            }
            (_, _) => None,
        };
        let checks_names = native("ssl.endpoint.identification.algorithm")? != "none";
        Ok(Some(Self { roots: Arc::new(roots), own, checks_names }))
    }

    /// A line about the client's own certificate, where there is one. Returns whether it can be used.
    fn own_certificate(&self, now_ms: i64, report: &mut Report) -> bool {
        let Some(leaf) = self.own.as_ref().and_then(|(chain, _)| chain.first()) else { return true };
        let Some(Leaf { name, not_after }) = Leaf::of(leaf) else {
            report.add(CHECK, "the client's certificate cannot be read", State::failed(Exit::Config, RENEW));
            return false;
        };
        let days = days_left(not_after, now_ms);
        let what = format!("client certificate {name}, {}", remaining(days));
        let state = match days {
            ..0 => State::failed(Exit::Config, RENEW),
            0..SOON_DAYS => State::warning(RENEW),
            SOON_DAYS.. => State::Ok,
        };
        report.add(CHECK, what, state);
        days >= 0
    }

    async fn shake(&self, broker: &Endpoint) -> Result<Seen, String> {
        let provider = Arc::new(ring::default_provider());
        let inner =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&provider));
        let inner = inner.build().map_err(|error| error.to_string())?;
        let witness = Arc::new(Witness {
            inner,
            provider: Arc::clone(&provider),
            checks_names: self.checks_names,
            seen: Mutex::new(None),
        });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>);
        let config = match &self.own {
            Some((chain, key)) => config
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| format!("the client's certificate cannot be used: {error}"))?,
            None => config.with_no_client_auth(),
        };
        let name = ServerName::try_from(broker.host.clone()).map_err(|error| error.to_string())?;
        let handshake = async {
            let stream = TcpStream::connect(broker.address).await?;
            TlsConnector::from(Arc::new(config)).connect(name, stream).await
        };
        let mut stream = match timeout(HANDSHAKE_WITHIN, handshake).await {
            Err(_) => return Err(format!("no handshake in {HANDSHAKE_WITHIN:?}: is it a TLS port?")),
            Ok(Err(error)) => return Err(plain(&error)),
            Ok(Ok(stream)) => stream,
        };
        let version = stream.get_ref().1.protocol_version();
        let mut first = [0];
        if let Ok(Err(error)) = timeout(REFUSED_WITHIN, stream.read(&mut first)).await {
            return Err(format!("the broker refuses this client: {}", plain(&error)));
        }
        let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (leaf, verdict) = seen.ok_or_else(|| "the broker showed no certificate".to_owned())?;
        Ok(Seen { version, leaf, verdict })
    }
}

fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    if text.contains("InvalidContentType") {
        "what listens there does not speak TLS".to_owned()
    } else {
        text
    }
}

/// The text of a PEM, from a file or as it is.
fn pem(key: &str, location: Option<String>, inline: Option<String>) -> Result<Option<String>, Mistake> {
    match (location, inline) {
        (Some(path), _) => std::fs::read_to_string(Path::new(&path)).map(Some).map_err(|error| {
            (
                format!("{key}: {path}: {error}"),
                format!("kafka.properties: name a readable PEM file in {key}"),
            )
        }),
        (None, inline) => Ok(inline),
    }
}

fn certificates(key: &str, text: &str) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| {
        (
            format!("{key} is no PEM file"),
            format!("kafka.properties: name a PEM file with certificates in {key}"),
        )
    })
}

/// A handshake that was let through to see what it shows.
struct Seen {
    version: Option<ProtocolVersion>,
    leaf: Option<Leaf>,
    verdict: Result<(), rustls::Error>,
}

/// A certificate, and what the usual verifier says of it.
type Shown = (Option<Leaf>, Result<(), rustls::Error>);

/// What is told of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leaf {
    name: String,
    /// Seconds since 1970.
    not_after: i64,
}

impl Leaf {
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        Some(Self { name: read.subject().to_string(), not_after: read.validity().not_after.timestamp() })
    }
}

/// Whole days; negative for one that has expired.
fn days_left(not_after: i64, now_ms: i64) -> i64 {
    (not_after - now_ms.div_euclid(1000)).div_euclid(24 * 3600)
}

fn remaining(days: i64) -> String {
    match days {
        ..0 => "expired".to_owned(),
        0 => "expires today".to_owned(),
        1 => "1 day left".to_owned(),
        2.. => format!("{days} days left"),
    }
}

fn judged(host: &str, seen: Result<Seen, String>, now_ms: i64) -> (String, State) {
    let Seen { version, leaf, verdict } = match seen {
        Ok(seen) => seen,
        Err(error) => {
            let (exit, fix) = if error.contains("refuses this client") {
                (
                    Exit::Denied,
                    "kafka.properties: name a certificate of an authority that the brokers believe",
                )
            } else {
                (Exit::Unavailable, "kafka.brokers: is it the port of the brokers' TLS listener?")
            };
            return (format!("{host}: {error}"), State::failed(exit, fix));
        }
    };
    let version = match version {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(_) | None => "TLS of an unknown version",
    };
    let days = leaf.as_ref().map(|leaf| days_left(leaf.not_after, now_ms));
    let named = leaf.as_ref().map_or("unreadable", |leaf| leaf.name.as_str());
    let told = |text: &str| format!("{host}: {version}, server certificate {named}, {text}");
    match (verdict, days) {
        (Ok(()), Some(days @ ..0)) => {
            (told(&remaining(days)), State::failed(Exit::Unavailable, "ask the operator to renew it"))
        }
        (Ok(()), Some(days)) => {
            let state =
                if days < SOON_DAYS { State::warning("ask the operator to renew it") } else { State::Ok };
            (told(&remaining(days)), state)
        }
        (Ok(()), None) => (told("which cannot be read"), State::warning("ask the operator to look at it")),
        (Err(error), days) => {
            let (what, exit, fix) = complaint(host, &error);
            let what = match days {
                Some(days) if exit != Exit::Unavailable => format!("{what} ({})", remaining(days)),
                Some(_) | None => what,
            };
            (told(&what), State::failed(exit, fix))
        }
    }
}

/// Why a certificate is not believed, whose fault it is, and what to do.
fn complaint(host: &str, error: &rustls::Error) -> (String, Exit, String) {
    if let rustls::Error::InvalidCertificate(why) = error {
        if matches!(why, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
            return ("expired".to_owned(), Exit::Unavailable, "ask the operator to renew it".to_owned());
        }
        if matches!(why, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
        {
            let fix = "kafka.brokers: use a name that stands in the certificate, or ask the operator for one with it";
            return (format!("not for the name {host}"), Exit::Config, fix.to_owned());
        }
        if matches!(why, CertificateError::UnknownIssuer | CertificateError::BadSignature) {
            let fix = "kafka.properties: name the file of the brokers' authority in ssl.ca.location";
            return ("of an authority that is not believed".to_owned(), Exit::Config, fix.to_owned());
        }
    }
    let fix = "kafka.properties: compare ssl.ca.location with what the operator gave";
    (format!("not believed: {error}"), Exit::Config, fix.to_owned())
}

/// Verifies, notes the verdict, and lets every certificate pass.
#[derive(Debug)]
struct Witness {
    inner: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    checks_names: bool,
    seen: Mutex<Option<Shown>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self
            .inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map(|_| ());
        let verdict = match verdict {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_names => Ok(()),
            verdict => verdict,
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((Leaf::of(end_entity), verdict));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
