//! The cloud's two sessions with the broker, and the only file that names `rumqttc`.
//!
//! `cloud.frames` reads pictures, `cloud.control` everything else, so that presence never waits behind pictures. A
//! message is acknowledged by whoever committed it ([`Ack`]), through the connection it came on: every connection has a
//! client of its own, so a late acknowledgement of an older one goes nowhere and can never hit another message of the
//! same packet id. `poll` lives alone in its task (it is not cancel-safe) and waits for nothing else: when the queue
//! has no room the connection is dropped, and the broker brings again what was not acknowledged.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AckMode, AsyncClient, ConnectionError, Event, Incoming, MqttOptions, Publish, PublishOptions,
    QoS, SubscribeFilterInput, SubscribeReasonCode,
};
use shared::topic::{Leaf, Topic};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::broker::Credentials;
use crate::deposit::Message;
use crate::intake::{Delivery, Queue};

/// The largest packet MQTT knows: our own limit is checked after reading, since a client that refuses a packet is sent
/// the same packet again for ever.
const PACKET_BYTES_MAX: usize = 268_435_455 + 5;
/// Requests on their way to the poll task.
const REQUESTS_MAX: usize = 256;
/// A broker that is silent for twice this is gone.
const KEEP_ALIVE_S: u16 = 30;
/// Time to connect, and to write a batch.
const NETWORK_TIMEOUT_S: u64 = 15;
/// How long a message to cameras may wait for the connection before it is given up; cameras ask again.
const PUBLISH_WAIT: Duration = Duration::from_secs(10);
const RECONNECT_MIN: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// Where and as whom to connect.
#[derive(Clone)]
pub struct Broker {
    pub host: String,
    pub port: u16,
    pub credentials: Option<Credentials>,
}

/// How the session is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Rises with every connection that has subscribed; 0 = never yet.
    pub subscribed: u64,
    pub connected: bool,
}

/// One session: its own client id, its own filters, reconnecting until it is stopped.
#[derive(Clone)]
pub struct Session {
    name: &'static str,
    client: watch::Receiver<Option<AsyncClient>>,
    health: watch::Receiver<Health>,
}

/// Acknowledges one message on the connection it came on.
#[derive(Debug)]
pub struct Ack {
    client: AsyncClient,
    publish: Publish,
}

impl Ack {
    /// Says that the message is committed. If its connection is gone this does nothing: the broker brings the message
    /// again, and it is a repeat then.
    pub async fn acknowledge(&self) {
        let sent = tokio::time::timeout(PUBLISH_WAIT, self.client.ack(&self.publish)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(
                packet = self.publish.pkid,
                "not acknowledged, its connection is gone"
            );
        }
    }
}

impl Session {
    /// Starts a session of `name`, subscribed to these leaves of every camera; what comes goes to `queue`.
    pub fn start(
        name: &'static str,
        leaves: &'static [Leaf],
        broker: Broker,
        queue: Arc<Queue>,
        stop: CancellationToken,
    ) -> Self {
        let (client_tx, client) = watch::channel(None);
        let (health_tx, health) = watch::channel(Health::default());
        let connections = Connections {
            name,
            leaves,
            broker,
            queue,
            client: client_tx,
            health: health_tx,
        };
        tokio::spawn(connections.keep_up(stop));
        Self {
            name,
            client,
            health,
        }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Hands a message to the broker. Returns whether it was handed over; a lost one is asked for again by the camera.
    pub async fn publish(&self, topic: &Topic, payload: Vec<u8>) -> bool {
        let Some(client) = self.client.borrow().clone() else {
            return false;
        };
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(topic.leaf.retained());
        let publish = client.publish(topic.to_string(), payload, options);
        match tokio::time::timeout(PUBLISH_WAIT, publish).await {
            Ok(Ok(())) => true,
            Ok(Err(_)) | Err(_) => {
                tracing::debug!(session = self.name, %topic, "not published, no connection");
                false
            }
        }
    }

    /// Says goodbye to the broker, so that it does not wait for us.
    pub fn disconnect(&self) {
        if let Some(client) = self.client.borrow().as_ref() {
            let _ = client.try_disconnect_now();
        }
    }
}

struct Connections {
    name: &'static str,
    leaves: &'static [Leaf],
    broker: Broker,
    queue: Arc<Queue>,
    client: watch::Sender<Option<AsyncClient>>,
    health: watch::Sender<Health>,
}

/// Why a connection ended.
enum End {
    Lost(ConnectionError),
    QueueFull,
}

impl Connections {
    async fn keep_up(self, stop: CancellationToken) {
        let mut wait = RECONNECT_MIN;
        while !stop.is_cancelled() {
            let before = self.health.borrow().subscribed;
            let end = self.connection().await;
            self.client.send_replace(None);
            self.health.send_modify(|health| health.connected = false);
            if stop.is_cancelled() {
                return;
            }
            match end {
                End::QueueFull => {
                    tracing::warn!(
                        session = self.name,
                        "more messages than fit: connection dropped until they are committed"
                    );
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.queue.drained() => {}
                    }
                }
                End::Lost(error) => {
                    if self.health.borrow().subscribed > before {
                        wait = RECONNECT_MIN;
                    }
                    // Once is enough: it is tried every few seconds, for as long as the broker is away.
                    if wait == RECONNECT_MIN {
                        tracing::warn!(session = self.name, "no connection to the broker: {error}");
                    } else {
                        tracing::debug!(session = self.name, "still none: {error}");
                    }
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(wait) => {}
                    }
                    wait = (wait * 2).min(RECONNECT_MAX);
                }
            }
        }
    }

    /// One connection from its beginning to its end. Dropping the event loop closes the socket.
    async fn connection(&self) -> End {
        let (client, mut events) = AsyncClient::builder(self.options())
            .capacity(REQUESTS_MAX)
            .build();
        let mut network = events.network_options();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(NETWORK_TIMEOUT_S);
        events.set_network_options(network);
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                    let filters = self.leaves.iter().map(|leaf| {
                        SubscribeFilterInput::new(leaf.of_every_device(), QoS::AtLeastOnce)
                    });
                    if let Err(error) = client.try_subscribe_many(filters) {
                        tracing::error!(session = self.name, "subscribe: {error}");
                    }
                }
                Ok(Event::Incoming(Incoming::SubAck(granted))) => {
                    if granted.return_codes.contains(&SubscribeReasonCode::Failure) {
                        tracing::error!(session = self.name, "the broker refuses a subscription");
                    } else {
                        tracing::info!(session = self.name, "subscribed at the broker");
                        self.client.send_replace(Some(client.clone()));
                        self.health.send_modify(|health| {
                            health.subscribed += 1;
                            health.connected = true;
                        });
                    }
                }
                Ok(Event::Incoming(Incoming::Publish(publish))) => {
                    if !self.take(&client, publish) {
                        return End::QueueFull;
                    }
                }
                Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
                Err(error) => return End::Lost(error),
            }
        }
    }

    fn take(&self, client: &AsyncClient, mut publish: Publish) -> bool {
        let message = Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: std::mem::take(&mut publish.payload),
            retained: publish.retain,
        };
        let ack = Ack {
            client: client.clone(),
            publish,
        };
        self.queue.put(Delivery {
            message,
            ack: Some(ack),
        })
    }

    fn options(&self) -> MqttOptions {
        let mut options = MqttOptions::new(self.name, (self.broker.host.clone(), self.broker.port));
        options
            .set_keep_alive(KEEP_ALIVE_S)
            .set_clean_session(false)
            .set_ack_mode(AckMode::Manual)
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
            .set_inflight(100);
        if let Some(credentials) = &self.broker.credentials {
            options.set_credentials(&credentials.user, credentials.password.clone());
        }
        options
    }
}
