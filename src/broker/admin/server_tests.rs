use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(60);

async fn start() -> (std::net::SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let stop = CancellationToken::new();
    let routes = Router::new().route("/", get(|| async { "here" }));
    (address, stop.clone(), tokio::spawn(serve(listener, routes, stop)))
}

async fn ask(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"here") {
        let mut piece = [0; 1024];
        let read = tokio::time::timeout(HANG_AFTER, stream.read(&mut piece)).await.expect("it does not hang");
        match read {
            Ok(0) | Err(_) => return None,
            Ok(bytes) => answer.extend_from_slice(&piece[..bytes]),
        }
    }
    String::from_utf8(answer).ok()
}

#[tokio::test]
async fn who_says_nothing_or_half_a_request_does_not_hold_up_the_end() {
    let (address, stop, served) = start().await;
    let silent = TcpStream::connect(address).await.expect("it listens");
    let mut half = TcpStream::connect(address).await.expect("it listens");
    half.write_all(b"GET / HT").await.expect("it reads");
    let mut kept_alive = TcpStream::connect(address).await.expect("it listens");
    assert!(ask(&mut kept_alive).await.is_some());
    stop.cancel();
    tokio::time::timeout(HANG_AFTER, served).await.expect("it ends").expect("no panic");
    drop((silent, half));
}

#[tokio::test]
async fn too_many_connections_are_refused_until_one_ends() {
    let (address, _stop, _served) = start().await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        assert!(ask(&mut stream).await.is_some());
        open.push(stream);
    }
    let mut refused = TcpStream::connect(address).await.expect("it listens");
    assert_eq!(ask(&mut refused).await, None);
    open.pop();
    // The end of the other connection is seen some time after it.
    loop {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        if ask(&mut stream).await.is_some() {
            break;
        }
    }
}
