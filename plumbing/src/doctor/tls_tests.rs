use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// 2027-01-01.
const NOW: i64 = 1_798_761_600_000;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        Self { issuer }
    }

    /// A listener with a certificate for `name`, good until the end of `year`.
    async fn serve(&self, name: &str, year: i32) -> Endpoint {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, "broker");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("they belong together");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(Arc::new(config.clone()));
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.read(&mut [0]).await;
                }
            }
        });
        Endpoint { host: "localhost".to_owned(), address }
    }

    fn believed(&self) -> KafkaConfig {
        let mut kafka = KafkaConfig::new("localhost:1", "test");
        kafka.properties.insert("security.protocol".into(), "ssl".into());
        kafka.properties.insert("ssl.ca.pem".into(), self.issuer.pem());
        kafka
    }
}

async fn looked(kafka: &KafkaConfig, broker: Endpoint) -> (bool, Report) {
    let mut report = Report::default();
    let through = tls(kafka, &[broker], NOW, &mut report).await;
    (through, report)
}

#[tokio::test]
async fn every_way_in_which_a_certificate_is_wrong_has_its_own_words_and_code() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for (broker, words, exit) in [
        (ours.serve("localhost", 2040).await, "CN=broker", 0),
        (ours.serve("localhost", 2021).await, "expired", 69),
        (ours.serve("kafka.example", 2040).await, "not for the name localhost", 78),
        (theirs.serve("localhost", 2040).await, "of an authority that is not believed", 78),
    ] {
        let (through, report) = looked(&ours.believed(), broker).await;
        assert!(report.to_string().contains(words), "{report}");
        assert_eq!((report.exit().code(), through), (exit, exit == 0), "{report}");
    }
}

#[tokio::test]
async fn names_do_not_count_where_the_settings_say_so() {
    let ours = Authority::new();
    let mut kafka = ours.believed();
    kafka.properties.insert("ssl.endpoint.identification.algorithm".into(), "none".into());
    let (through, report) = looked(&kafka, ours.serve("kafka.example", 2040).await).await;
    assert!(through, "{report}");
}

#[tokio::test]
async fn what_does_not_speak_tls_is_told_apart_from_what_does_it_wrongly() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let broker = Endpoint { host: "localhost".to_owned(), address };
    let (through, report) = looked(&Authority::new().believed(), broker).await;
    assert!(!through && report.to_string().contains("does not speak TLS"), "{report}");
}

#[test]
fn a_certificate_is_counted_in_whole_days() {
    let now = NOW / 1000;
    for (not_after, days, words) in [
        (now + 61 * 86_400 + 5, 61, "61 days left"),
        (now + 86_400, 1, "1 day left"),
        (now + 5, 0, "expires today"),
        (now - 1, -1, "expired"),
    ] {
        assert_eq!(days_left(not_after, NOW), days);
        assert_eq!(remaining(days), words);
    }
}

#[tokio::test]
async fn the_clients_own_certificate_is_judged_before_anybody_is_asked() {
    let ours = Authority::new();
    for (year, exit, words) in [(2026, 78, "expired"), (2040, 0, "CN=bank-alpha")] {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "bank-alpha");
        params.not_after = date_time_ymd(year, 12, 30);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &ours.issuer).expect("signed");
        let mut kafka = ours.believed();
        kafka.properties.insert("ssl.certificate.pem".into(), certificate.pem());
        kafka.properties.insert("ssl.key.pem".into(), key.serialize_pem());
        let (through, report) = looked(&kafka, ours.serve("localhost", 2040).await).await;
        assert!(report.to_string().contains(words), "{report}");
        assert_eq!((report.exit().code(), through), (exit, exit == 0), "{report}");
        assert!(!report.to_string().contains("PRIVATE"), "{report}");
    }
}
