//! A proxy for any protocol over TCP: it listens, has a thread for each connection, and can cut all of them.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use keepsake_provision::process::free_port;

/// A proxy on a free port of this machine. It runs until it is dropped, also while its server is down.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    connections: Arc<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    sockets: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
}

impl TcpProxy {
    /// Calls `forward` with the sockets of the client and of the server for each connection, and closes both when it
    /// returns.
    pub fn start<F>(server_port: u16, forward: F) -> Self
    where
        F: Fn(&TcpStream, &TcpStream) -> io::Result<()> + Send + Sync + 'static,
    {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("bind a free port");
        let connections: Arc<Connections> = Arc::default();
        let (forward, accepted) = (Arc::new(forward), Arc::clone(&connections));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepted.stop.load(Ordering::Relaxed) {
                    break;
                }
                // A server that is down looks like one that closes the connection.
                let Ok(server) = accepted.open(&client, server_port) else {
                    continue;
                };
                let forward = Arc::clone(&forward);
                thread::spawn(move || {
                    let _ = forward(&client, &server);
                    let _ = client.shutdown(Shutdown::Both);
                    let _ = server.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, connections }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        for socket in self.connections.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Connections {
    fn open(&self, client: &TcpStream, server_port: u16) -> io::Result<TcpStream> {
        let server = TcpStream::connect(("127.0.0.1", server_port))?;
        for socket in [client, &server] {
            socket.set_nodelay(true)?;
            self.sockets.lock().unwrap().push(socket.try_clone()?);
        }
        Ok(server)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.connections.stop.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}
