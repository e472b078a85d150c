//! A TCP proxy that can stop forwarding, in either direction: a connection that hangs, as a broken network leaves it.
//! Nothing is closed then and nothing is lost; what was held back goes on its way when the hold ends.
//!
//! Always: its connections are closed when the [`TcpProxy`] is dropped.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server: requests.
    ToServer,
    /// From the server to the client: answers.
    ToClient,
}

/// A proxy in front of one server.
#[derive(Debug)]
pub struct TcpProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Way>,
    /// Bytes that came while their way was held.
    held_back_bytes: usize,
    is_closed: bool,
    sockets: Vec<TcpStream>,
}

impl TcpProxy {
    /// A proxy on a free port.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { server, state: Mutex::default(), changed: Condvar::new() });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.lock().is_closed {
                    return;
                }
                // A server that is away refuses the connection: the client sees it closed.
                let _ = connect(&accepting, client);
            }
        });
        Self { shared, address }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops forwarding one way, on all connections, those to come included.
    pub fn hold(&self, way: Way) {
        let mut state = self.shared.lock();
        (state.held, state.held_back_bytes) = (Some(way), 0);
    }

    /// Waits until something is held back: until then nobody has met the hold.
    ///
    /// # Panics
    /// When nothing ever is.
    pub fn wait_until_something_is_held_back(&self) {
        let state = self.shared.lock();
        let nothing = |state: &mut State| state.held_back_bytes == 0;
        let hang_after = crate::deadline::HANG_AFTER;
        let waited = self.shared.changed.wait_timeout_while(state, hang_after, nothing);
        let timed_out = waited.unwrap_or_else(PoisonError::into_inner).1.timed_out();
        assert!(!timed_out, "hung: nobody sent anything through the proxy");
    }

    /// Forwards again, what was held back first.
    pub fn release(&self) {
        self.shared.lock().held = None;
        self.shared.changed.notify_all();
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        for socket in state.sockets.drain(..) {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `way` is held; false once the proxy is closed.
    fn pass(&self, way: Way, bytes: usize) -> bool {
        let mut state = self.lock();
        if state.held == Some(way) {
            state.held_back_bytes += bytes;
            self.changed.notify_all();
        }
        while state.held == Some(way) && !state.is_closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_closed
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream) -> io::Result<()> {
    let server = TcpStream::connect(shared.server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    shared.lock().sockets.extend([client.try_clone()?, server.try_clone()?]);
    let ways = [(Way::ToServer, client.try_clone()?, server.try_clone()?), (Way::ToClient, server, client)];
    for (way, from, to) in ways {
        let shared = shared.clone();
        thread::spawn(move || {
            // However one way ends, the connection does.
            let _ = forward(&shared, way, &from, &to);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn forward(shared: &Shared, way: Way, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 || !shared.pass(way, read) {
            return Ok(());
        }
        to.write_all(&buffer[..read])?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A server that sends back whatever it gets.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || io::copy(&mut &client, &mut &client));
            }
        });
        address
    }

    fn ask(stream: &mut TcpStream, text: &[u8]) -> Vec<u8> {
        stream.write_all(text).expect("it is taken");
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).expect("it is answered");
        answer
    }

    #[test]
    fn what_is_held_back_goes_on_its_way_when_the_hold_ends() {
        for way in [Way::ToServer, Way::ToClient] {
            let proxy = TcpProxy::start(echo());
            let mut stream = TcpStream::connect(proxy.address()).expect("it listens");
            assert_eq!(ask(&mut stream, b"before"), b"before");
            proxy.hold(way);
            stream.write_all(b"during").expect("it is taken");
            proxy.wait_until_something_is_held_back();
            stream.set_read_timeout(Some(Duration::from_millis(1))).expect("the option is known");
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).expect_err("nothing comes while it is held");
            proxy.release();
            stream.set_read_timeout(None).expect("the option is known");
            stream.read_exact(&mut answer).expect("it comes");
            assert_eq!(&answer, b"during");
        }
    }

    #[test]
    fn connections_end_with_the_proxy_also_those_that_are_held() {
        let proxy = TcpProxy::start(echo());
        let mut stream = TcpStream::connect(proxy.address()).expect("it listens");
        assert_eq!(ask(&mut stream, b"before"), b"before");
        proxy.hold(Way::ToServer);
        stream.write_all(b"during").expect("it is taken");
        proxy.wait_until_something_is_held_back();
        drop(proxy);
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "it is closed");
    }
}
