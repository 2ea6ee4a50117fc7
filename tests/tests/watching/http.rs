//! The least of an HTTP server: it reads a request's body and answers.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncBufReadExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Serves on a loopback address until the test ends; `take` is given every body and returns the status.
pub(crate) async fn serve(take: impl Fn(&[u8]) -> u16 + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let take = Arc::new(take);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepted");
            let take = Arc::clone(&take);
            tokio::spawn(async move { exchange(stream, &*take).await });
        }
    });
    address
}

/// Until the other side closes.
async fn exchange(stream: TcpStream, take: &(impl Fn(&[u8]) -> u16 + Sync)) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().expect("a length");
                }
                None if line == "\r\n" => break,
                Some(_) | None => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let answer = format!("HTTP/1.1 {} X\r\ncontent-length: 0\r\n\r\n", take(&body));
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}
