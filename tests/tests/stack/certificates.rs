//! Which certificates of a broker a client accepts. The broker is `openssl s_server`: only its handshake counts.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cardquery_tests::logged_client::LoggedClient;
use cardquery_tests::process::ChildProcess;
use cardquery_tests::stack::Stack;
use plumbing::kafka::KafkaConfig;
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(30);
/// A client tries again and again, so its question is answered only by the end of its time.
const WITHIN_REFUSAL: Duration = Duration::from_secs(3);
const REFUSED: &str = "certificate verify failed";

/// As `openssl ca` takes times.
const PAST: (&str, &str) = ("20200101000000Z", "20200102000000Z");
const PRESENT: (&str, &str) = ("20200101000000Z", "99991231235959Z");

#[tokio::test]
async fn a_certificate_that_the_known_ca_signed_for_this_host_is_accepted() {
    let ca = Ca::new();
    let mut server = TlsServer::start(&ca.sign("localhost", PRESENT)).await;

    let client = LoggedClient::new(&server.client_settings(&ca));
    let answer = client.ask(WITHIN_REFUSAL).await;

    // It is no broker, so there is no answer behind the handshake.
    answer.expect_err("openssl answered a request for metadata");
    server.process.wait_for_line("SSL_accept:SSLv3/TLS read finished", WITHIN).await;
    assert!(!client.lines().iter().any(|line| line.contains(REFUSED)), "{:#?}", client.lines());
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let ca = Ca::new();

    assert_refused(&ca.sign("localhost", PAST), &ca, "alert certificate expired").await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let foreign = Ca::new();

    assert_refused(&foreign.sign("localhost", PRESENT), &Ca::new(), "alert unknown ca").await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let ca = Ca::new();

    assert_refused(&ca.sign("kafka.example", PRESENT), &ca, "alert bad certificate").await;
}

/// The client says only that it refuses; the alert that it sends to the server says why.
async fn assert_refused(certificate: &Certificate, trusted: &Ca, alert: &str) {
    let mut server = TlsServer::start(certificate).await;

    let client = LoggedClient::new(&server.client_settings(trusted));
    client.ask(WITHIN_REFUSAL).await.expect_err("openssl answered a request for metadata");

    client.wait_for_line(REFUSED, WITHIN).await;
    server.process.wait_for_line(alert, WITHIN).await;
}

/// Something that speaks TLS and shows a certificate.
struct TlsServer {
    process: ChildProcess,
    address: String,
}

impl TlsServer {
    async fn start(certificate: &Certificate) -> Self {
        // All it says on one stream. With -www it does not end as soon as its empty stdin has ended.
        let script = r#"exec openssl s_server -www -state -accept 127.0.0.1:0 -cert "$1" -key "$2" >&2"#;
        let (chain, key) = certificate.paths();
        let mut process = ChildProcess::spawn_external("sh", &["-c", script, "sh", &chain, &key]);
        let line = process.wait_for_line("ACCEPT ", WITHIN).await;
        let port = line.rsplit_once(':').expect("openssl names its port").1;
        Self { address: format!("localhost:{port}"), process }
    }

    /// The stack's own settings, but for where the broker is and who vouches for it.
    fn client_settings(&self, trusted: &Ca) -> KafkaConfig {
        let mut kafka = Stack::get().kafka("admin", "cardquery.test.certificates");
        kafka.brokers.clone_from(&self.address);
        kafka.properties.insert("ssl.ca.location".to_owned(), trusted.path("ca.pem"));
        kafka
    }
}

/// A certificate authority with nothing but its key.
struct Ca {
    directory: TempDir,
}

struct Certificate {
    directory: TempDir,
}

impl Certificate {
    /// The certificate and its key.
    fn paths(&self) -> (String, String) {
        let path = |name| self.directory.path().join(name).display().to_string();
        (path("server.pem"), path("server.key"))
    }
}

impl Ca {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let settings = "\
[ca]
default_ca = this
[this]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
";
        fs::write(directory.path().join("ca.cnf"), settings).expect("the directory is writable");
        fs::write(directory.path().join("index.txt"), "").expect("the directory is writable");
        openssl(
            directory.path(),
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=test \
             -keyout ca.key -out ca.pem",
        );
        Self { directory }
    }

    fn sign(&self, host: &str, (from, until): (&str, &str)) -> Certificate {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        openssl(
            directory.path(),
            &format!(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={host} \
                 -addext subjectAltName=DNS:{host} -keyout server.key -out server.csr"
            ),
        );
        let path = |name| directory.path().join(name).display().to_string();
        openssl(
            self.directory.path(),
            &format!(
                "ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -startdate {from} -enddate {until} \
                 -in {} -out {}",
                path("server.csr"),
                path("server.pem")
            ),
        );
        Certificate { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

#[track_caller]
fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_ascii_whitespace())
        .current_dir(directory)
        .output()
        .expect("openssl can be started");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
