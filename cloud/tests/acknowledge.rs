//! The acknowledgements that a broker sees: nothing is acknowledged before its commit, and a late acknowledgement never
//! hits another message. Seen by a proxy between the cloud's sessions and the broker.

mod harness;

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{Camera, Cloud, WAIT, photograph};
use keepsake_protocol::Hash;
use sqlx::Executor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Passes everything on, and counts the connections of the sessions that take in, and what they acknowledge.
#[derive(Default)]
struct Proxy {
    /// The address of the broker; known only once the cloud has started it.
    broker_port: AtomicU16,
    connections: AtomicUsize,
    acknowledged: AtomicUsize,
    cut: Mutex<CancellationToken>,
}

/// Pictures, pictures of third-party cameras, and everything else.
const SESSIONS: usize = 3;
const CONNECT: u8 = 1;
const PUBACK: u8 = 4;

impl Proxy {
    async fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mqtt://{}", listener.local_addr().unwrap());
        let proxy = Arc::new(Self::default());
        let accepting = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (cloud, _) = listener.accept().await.unwrap();
                let port = accepting.broker_port.load(Ordering::SeqCst);
                let Ok(broker) = TcpStream::connect(("127.0.0.1", port)).await else {
                    continue;
                };
                let cut = accepting.cut.lock().unwrap().clone();
                let passing = accepting.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = cut.cancelled() => {}
                        () = passing.pass(cloud, broker) => {}
                    }
                });
            }
        });
        (proxy, url)
    }

    /// Breaks all connections at once.
    fn cut(&self) {
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }

    async fn pass(&self, cloud: TcpStream, broker: TcpStream) {
        let (mut from_cloud, mut to_cloud) = cloud.into_split();
        let (mut from_broker, mut to_broker) = broker.into_split();
        let up = async {
            // What the cloud sends to itself to know the broker's limits has a session of its own, and is no picture.
            let mut takes_in = false;
            while let Some((kind, packet)) = packet(&mut from_cloud).await {
                if kind == CONNECT {
                    let check = b"cloud.check.";
                    takes_in = !packet.windows(check.len()).any(|part| part == check);
                    self.connections.fetch_add(usize::from(takes_in), Ordering::SeqCst);
                }
                if kind == PUBACK && takes_in {
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                if to_broker.write_all(&packet).await.is_err() {
                    return;
                }
            }
        };
        let down = tokio::io::copy(&mut from_broker, &mut to_cloud);
        tokio::select! {
            () = up => {}
            _ = down => {}
        }
    }
}

/// One MQTT packet: its kind and all its bytes.
async fn packet(from: &mut (impl AsyncReadExt + Unpin)) -> Option<(u8, Vec<u8>)> {
    let mut all = vec![from.read_u8().await.ok()?];
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = from.read_u8().await.ok()?;
        all.push(byte);
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let head = all.len();
    all.resize(head + length, 0);
    from.read_exact(&mut all[head..]).await.ok()?;
    Some((all[0] >> 4, all))
}

/// A cloud whose sessions go through a proxy. The broker's port must be known beforehand, so a free one is looked for.
async fn observed() -> (Cloud, Arc<Proxy>) {
    let (proxy, url) = Proxy::start().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = free.local_addr().unwrap();
    drop(free);
    proxy.broker_port.store(broker.port(), Ordering::SeqCst);
    let broker = broker.to_string();
    let more = ["--mqtt-listen", &broker, "--mqtt-broker-url", &url];
    (Cloud::start(&more).await, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_its_commit() {
    let (cloud, proxy) = observed().await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    let mut other = cloud.database().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let pictures: Vec<Vec<u8>> = (1..=3).map(photograph).collect();
    for (at, bytes) in pictures.iter().enumerate() {
        porch.send(at as u64 + 1, bytes).await;
    }
    // Long enough for a cloud that acknowledges early to have done so.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(proxy.acknowledged.load(Ordering::SeqCst), 0);
    other.execute("ROLLBACK").await.unwrap();
    porch.stored(&numbered(&pictures)).await;
    let acknowledged = async {
        while proxy.acknowledged.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT, acknowledged).await.unwrap();
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_of_a_lost_connection_hits_nothing() {
    let (cloud, proxy) = observed().await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    let mut other = cloud.database().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let pictures: Vec<Vec<u8>> = (1..=6).map(photograph).collect();
    for (at, bytes) in pictures[..3].iter().enumerate() {
        porch.send(at as u64 + 1, bytes).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The connection is lost with three messages read and not committed; the broker brings them again.
    let before = proxy.connections.load(Ordering::SeqCst);
    proxy.cut();
    let back = async {
        while proxy.connections.load(Ordering::SeqCst) < before + SESSIONS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT, back).await.unwrap();
    for (at, bytes) in pictures[3..].iter().enumerate() {
        porch.send(at as u64 + 4, bytes).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    other.execute("ROLLBACK").await.unwrap();
    porch.stored(&numbered(&pictures)).await;
    let listed = cloud.json("/api/v1/pictures").await;
    assert_eq!(listed["pictures"].as_array().unwrap().len(), 6);
    // An acknowledgement of the old connection on the new one would be of a message that is not there (the client
    // library then ends the connection) or of another one.
    assert_eq!(proxy.connections.load(Ordering::SeqCst), before + SESSIONS);
    cloud.stop().await;
}

/// The pictures as captures 1, 2, 3 …
fn numbered(pictures: &[Vec<u8>]) -> Vec<(u64, Hash)> {
    let hashes = pictures.iter().map(|bytes| Hash::of(bytes));
    (1..).zip(hashes).collect()
}
