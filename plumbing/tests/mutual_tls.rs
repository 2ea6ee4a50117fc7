//! Mutual TLS as both ends use it: who gets in, who is refused, and as whom a peer may speak.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::extract::ConnectInfo;
use axum::extract::Path as Segment;
use axum::routing::get;
use axum::{Json, Router};
use plumbing::http::{self, HttpListener, MutualTls, Peer, TlsError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::net::TcpStream;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }
}

/// Certificates and keys in files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path
    }

    /// One side: a certificate for `dns` from `own`, believing `other`.
    fn side(&self, dns: &str, own: &Authority, other: &Authority, expired: bool) -> MutualTls {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![dns.to_owned()]).expect("a name");
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 2);
        }
        let certificate = params.signed_by(&key, &own.issuer).expect("signed");
        let name = format!("{dns}-{}", key.serialize_pem().len() + usize::from(expired));
        let unique = tempfile::tempdir_in(self.0.path()).expect("a folder").keep();
        let file = |suffix: &str, text: String| {
            let path = unique.join(format!("{name}.{suffix}"));
            std::fs::write(&path, text).expect("writable");
            path
        };
        MutualTls {
            certificate_file: file("pem", certificate.pem()),
            key_file: file("key", key.serialize_pem()),
            ca_file: file("ca", other.issuer.pem()),
        }
    }
}

/// Says whether the caller may speak as the name in the path.
async fn speaks_as(ConnectInfo(peer): ConnectInfo<Peer>, Segment(name): Segment<String>) -> Json<bool> {
    Json(peer.is(&name))
}

async fn serve(tls: Option<&MutualTls>) -> SocketAddr {
    let tls = tls.map(|tls| tls.server().expect("usable files"));
    let listener = HttpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), tls).await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let router = Router::new().route("/as/{name}", get(speaks_as));
    tokio::spawn(
        async move { axum::serve(listener, router.into_make_service_with_connect_info::<Peer>()).await },
    );
    addr
}

fn client(tls: Option<&MutualTls>) -> reqwest::Client {
    http::client(tls).expect("usable files")
}

async fn ask(
    client: &reqwest::Client,
    addr: SocketAddr,
    host: &str,
    name: &str,
) -> Result<bool, reqwest::Error> {
    client.get(format!("https://{host}:{}/as/{name}", addr.port())).send().await?.json().await
}

#[tokio::test]
async fn a_peer_speaks_as_the_names_in_its_verified_certificate_and_as_no_other() {
    let (files, authority) = (Files::new(), Authority::new());
    let addr = serve(Some(&files.side("localhost", &authority, &authority, false))).await;
    let wallet = client(Some(&files.side("upstream-wallet", &authority, &authority, false)));
    assert!(ask(&wallet, addr, "localhost", "upstream-wallet").await.expect("answered"));
    assert!(!ask(&wallet, addr, "localhost", "upstream-shop").await.expect("answered"));
    assert!(!ask(&wallet, addr, "localhost", "upstream-wallet2").await.expect("answered"));
    assert!(!ask(&wallet, addr, "localhost", "..").await.unwrap_or(false));
}

#[tokio::test]
async fn whoever_has_no_good_certificate_gets_no_answer() {
    let (files, authority, foreign) = (Files::new(), Authority::new(), Authority::new());
    let addr = serve(Some(&files.side("localhost", &authority, &authority, false))).await;
    let good = files.side("upstream-wallet", &authority, &authority, false);
    ask(&client(Some(&good)), addr, "localhost", "x").await.expect("the control is answered");
    for (what, bad) in [
        ("of a foreign authority", files.side("upstream-wallet", &foreign, &authority, false)),
        ("expired", files.side("upstream-wallet", &authority, &authority, true)),
    ] {
        ask(&client(Some(&bad)), addr, "localhost", "x").await.expect_err(what);
    }
    let without = rustls_client_without_certificate(&good);
    ask(&without, addr, "localhost", "x").await.expect_err("without a certificate");
    let plain = client(None).get(format!("http://{addr}/as/x")).send().await;
    plain.expect_err("without TLS");
}

fn rustls_client_without_certificate(tls: &MutualTls) -> reqwest::Client {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&tls.ca_file).expect("a certificate")).expect("an authority");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build().expect("a client")
}

#[tokio::test]
async fn a_server_with_the_wrong_name_a_foreign_authority_or_an_expired_certificate_is_refused() {
    let (files, authority, foreign) = (Files::new(), Authority::new(), Authority::new());
    let wallet = client(Some(&files.side("upstream-wallet", &authority, &authority, false)));
    for (what, server) in [
        ("wrong name", files.side("elsewhere", &authority, &authority, false)),
        ("foreign authority", files.side("localhost", &foreign, &authority, false)),
        ("expired", files.side("localhost", &authority, &authority, true)),
    ] {
        let addr = serve(Some(&server)).await;
        ask(&wallet, addr, "localhost", "upstream-wallet").await.expect_err(what);
    }
}

#[tokio::test]
async fn a_client_that_never_says_anything_holds_up_nobody() {
    let (files, authority) = (Files::new(), Authority::new());
    let addr = serve(Some(&files.side("localhost", &authority, &authority, false))).await;
    let mute: Vec<TcpStream> = futures::future::join_all((0..20).map(|_| TcpStream::connect(addr)))
        .await
        .into_iter()
        .map(|stream| stream.expect("accepted by the kernel"))
        .collect();
    let wallet = client(Some(&files.side("upstream-wallet", &authority, &authority, false)));
    assert!(ask(&wallet, addr, "localhost", "upstream-wallet").await.expect("answered"));
    drop(mute);
}

#[tokio::test]
async fn without_tls_a_local_peer_may_speak_as_anybody() {
    let addr = serve(None).await;
    let answer =
        client(None).get(format!("http://{addr}/as/upstream-wallet")).send().await.expect("answered");
    assert!(answer.json::<bool>().await.expect("a word"));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (files, authority) = (Files::new(), Authority::new());
    let good = files.side("localhost", &authority, &authority, false);
    let other = files.side("localhost", &authority, &authority, false);
    let empty = files.write("empty.pem", "");
    let missing = files.0.path().join("missing.pem");
    let path = |tls: &MutualTls| tls.server().expect_err("unusable").to_string();
    assert!(path(&MutualTls { key_file: missing.clone(), ..good.clone() }).contains("missing.pem"));
    assert!(path(&MutualTls { ca_file: empty.clone(), ..good.clone() }).contains("empty.pem"));
    let mixed = MutualTls { key_file: other.key_file, ..good.clone() };
    assert!(matches!(mixed.server(), Err(TlsError::Certificate { .. })), "a key of another certificate");
    assert!(matches!(mixed.client(), Err(TlsError::Certificate { .. })));
    assert!(good.server().is_ok() && good.client().is_ok());
}
