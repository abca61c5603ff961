//! The cloud's sessions with the broker, and the only file that names `rumqttc`.
//!
//! `cloud.frames.{store}` reads pictures, `cloud.external.{store}` those of third-party cameras, which no window bounds,
//! and `cloud.control.{store}` everything else, so that presence never waits behind pictures, and no camera behind the
//! flood of a third-party one; with 8 digits of the store's id in them, two clouds on one broker do not throw each other off. A message
//! is acknowledged by the task that committed it ([`ack`](super::ack)). Every connection has a client of its own.
//! `poll` lives alone in its task (it is not cancel-safe). While the queue has no room it is called only to send
//! acknowledgements, so nothing more is read, and TCP makes the broker wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use keepsake_protocol::StoreId;
use keepsake_protocol::topic::{MessageKind, Topic};
use keepsake_tls::DefaultTimeProvider;
use rumqttc::{
    AckMode, AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, MqttOptions, Outgoing,
    Publish, PublishOptions, QoS, SubscribeFilterInput, SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::secret::PasswordSource;
use crate::ingest::operation::Message;
use crate::ingest::queue::{Delivery, Queue};
use crate::mqtt::ack::{Connection, Received, Unacknowledged};

/// The largest packet MQTT knows: our own limit is checked after reading, since a client that refuses a packet is sent
/// the same packet again for ever.
const PACKET_BYTES_MAX: usize = 268_435_455 + 5;
/// Packets read at a time; the queue can be overrun by this number.
const READ_BATCH_MAX: usize = 16;
/// Requests on their way to the poll task.
const REQUESTS_MAX: usize = 256;
/// A broker that is silent for twice this is gone.
const KEEP_ALIVE_S: u16 = 30;
/// Time to connect, and to write a batch.
const NETWORK_TIMEOUT_S: u64 = 15;
/// The time that a message to cameras waits for the connection before it is dropped; cameras ask again.
const PUBLISH_WAIT: Duration = Duration::from_secs(10);
const RECONNECT_MIN: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// The address of a broker, and the login for it.
#[derive(Debug, Clone)]
pub struct BrokerAddress {
    pub host: String,
    pub port: u16,
    pub login: Option<MqttLogin>,
    /// Present = TLS.
    pub tls: Option<keepsake_tls::TlsFiles>,
}

impl BrokerAddress {
    /// Returns the URL for a camera on this network, `mqtt://host:port` or `mqtts://host:port`.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "mqtts" } else { "mqtt" };
        let Self { host, port, .. } = self;
        // An IPv6 address has colons of its own.
        if host.contains(':') && !host.starts_with('[') {
            format!("{scheme}://[{host}]:{port}")
        } else {
            format!("{scheme}://{host}:{port}")
        }
    }

    /// Only this computer reaches it.
    pub fn is_loopback(&self) -> bool {
        let address: Option<std::net::IpAddr> = self.host.parse().ok();
        self.host == "localhost" || address.is_some_and(|address| address.is_loopback())
    }
}

#[derive(Debug, Clone)]
pub struct MqttLogin {
    pub user: String,
    pub password: Option<PasswordSource>,
}

/// The state of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionHealth {
    /// Rises with every connection that has subscribed; 0 = never yet.
    pub subscribed: u64,
    pub connected: bool,
    /// The broker had kept nothing of this session when it was last connected to again.
    pub session_lost: bool,
    /// Why there is no connection, in a sentence; absent while there is one.
    pub trouble: Option<Arc<str>>,
}

/// One session: its own client id, its own filters, reconnecting until it is stopped.
#[derive(Clone)]
pub struct MqttSession {
    name: Arc<str>,
    client: watch::Receiver<Option<AsyncClient>>,
    health: watch::Receiver<SessionHealth>,
}

impl MqttSession {
    /// Starts a session of this client id, subscribed to these filters; what comes goes to `queue`, of which it fills at
    /// most `queue_bytes_max`.
    pub fn start(
        name: &str,
        filters: Vec<Filter>,
        broker: BrokerAddress,
        queue: Arc<Queue>,
        queue_bytes_max: usize,
        stop: CancellationToken,
    ) -> Self {
        let name: Arc<str> = name.into();
        let (client_tx, client) = watch::channel(None);
        let (health_tx, health) = watch::channel(SessionHealth::default());
        let connections = ReconnectLoop {
            name: name.clone(),
            filters,
            broker,
            queue,
            queue_bytes_max,
            unacknowledged: Arc::default(),
            client: client_tx,
            health: health_tx,
        };
        tokio::spawn(connections.run(stop));
        Self { name, client, health }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn health(&self) -> watch::Receiver<SessionHealth> {
        self.health.clone()
    }

    /// Hands a message to the broker. Returns whether it was handed over; a lost one is asked for again by the camera.
    pub async fn publish(&self, topic: &Topic, payload: Vec<u8>) -> bool {
        let Some(client) = self.client.borrow().clone() else {
            return false;
        };
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(topic.kind.retained());
        let publish = client.publish(topic.to_string(), payload, options);
        match tokio::time::timeout(PUBLISH_WAIT, publish).await {
            Ok(Ok(())) => true,
            Ok(Err(_)) | Err(_) => {
                tracing::debug!(session = %self.name, %topic, "not published, no connection");
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

/// A subscription of a session.
#[derive(Debug, Clone)]
pub struct Filter {
    pub filter: String,
    /// Without it the session is worth nothing: a broker that refuses it is tried again and again.
    pub required: bool,
}

impl Filter {
    /// These leaves of every camera.
    pub fn of_every_device(leaves: &[MessageKind]) -> Vec<Self> {
        let filter = |leaf: &MessageKind| Self { filter: leaf.subscription_for_all_devices(), required: true };
        leaves.iter().map(filter).collect()
    }
}

/// The client id of one of the cloud's sessions; at most the 23 characters that every broker must take.
pub(crate) fn client_id(role: &str, store: StoreId) -> String {
    let store = store.to_string();
    format!("cloud.{role}.{}", &store[..8])
}

struct ReconnectLoop {
    name: Arc<str>,
    filters: Vec<Filter>,
    broker: BrokerAddress,
    queue: Arc<Queue>,
    queue_bytes_max: usize,
    unacknowledged: Arc<Unacknowledged>,
    client: watch::Sender<Option<AsyncClient>>,
    health: watch::Sender<SessionHealth>,
}

/// Limit of the reasons that are remembered as reported.
const SAID_MAX: usize = 8;

impl ReconnectLoop {
    async fn run(self, stop: CancellationToken) {
        let mut wait = RECONNECT_MIN;
        // It is tried every few seconds, for as long as it takes: each reason is told once between two connections.
        let mut said: Vec<String> = Vec::new();
        while !stop.is_cancelled() {
            let before = self.health.borrow().subscribed;
            let trouble = self.connection(&stop).await;
            self.client.send_replace(None);
            self.health.send_modify(|health| {
                health.connected = false;
                health.trouble = Some(trouble.as_str().into());
            });
            if stop.is_cancelled() {
                return;
            }
            if self.health.borrow().subscribed > before {
                wait = RECONNECT_MIN;
                said.clear();
            }
            if said.contains(&trouble) || said.len() >= SAID_MAX {
                tracing::debug!(session = %self.name, "still none: {trouble}");
            } else {
                tracing::warn!(session = %self.name, "no connection to the broker: {trouble}");
                said.push(trouble);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(RECONNECT_MAX);
        }
    }

    /// Keeps one connection from its beginning to its end. Dropping the event loop closes the socket. Returns why it
    /// ended, a sentence.
    async fn connection(&self, stop: &CancellationToken) -> String {
        let (client, events) = match connect(&self.name, &self.broker, false) {
            Ok(connecting) => connecting,
            Err(text) => return text,
        };
        let connection = Connection::new(client);
        let end = self.poll(&connection, events, stop).await;
        self.unacknowledged.end_of(&connection);
        end
    }

    async fn poll(&self, connection: &Arc<Connection>, mut events: EventLoop, stop: &CancellationToken) -> String {
        // Read, and without room in the queue: at most one batch of packets.
        let mut held = VecDeque::new();
        let mut acks_sent = 0;
        loop {
            while let Some(delivery) = held.pop_front() {
                if let Err(delivery) = self.queue.put_below(self.queue_bytes_max, delivery) {
                    held.push_front(delivery);
                    break;
                }
            }
            // While something is to be sent, polling sends it and does not read.
            if !held.is_empty() && connection.acks() <= acks_sent {
                tokio::select! {
                    () = stop.cancelled() => return "stopped".to_owned(),
                    () = self.queue.drained_below(self.queue_bytes_max) => {}
                    () = connection.acked.notified() => {}
                }
                continue;
            }
            match events.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(answer))) => {
                    if !answer.session_present {
                        self.unacknowledged.forget_all();
                    }
                    self.health.send_modify(|health| {
                        health.session_lost = health.subscribed > 0 && !answer.session_present;
                    });
                    let filters = self.filters.iter();
                    let filters = filters.map(|f| SubscribeFilterInput::new(f.filter.clone(), QoS::AtLeastOnce));
                    if let Err(error) = connection.client.try_subscribe_many(filters) {
                        return format!("subscribe: {error}");
                    }
                }
                Ok(Event::Incoming(Incoming::SubAck(granted))) => {
                    if let Err(refused) = self.subscribed(&connection.client, &granted.return_codes) {
                        return refused;
                    }
                }
                Ok(Event::Incoming(Incoming::Publish(publish))) => held.extend(self.receive(connection, publish)),
                Ok(Event::Outgoing(Outgoing::PubAck(_))) => acks_sent += 1,
                Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
                Err(error) => return explain(&error),
            }
        }
    }

    /// Opens the session for messages to cameras.
    ///
    /// # Errors
    /// The broker refused a subscription that is needed; a sentence.
    fn subscribed(&self, client: &AsyncClient, granted: &[SubscribeReasonCode]) -> Result<(), String> {
        for (Filter { filter, required }, code) in self.filters.iter().zip(granted) {
            if *code != SubscribeReasonCode::Failure {
                continue;
            }
            let text = format!("the broker refuses the subscription to {filter}");
            if *required {
                return Err(text);
            }
            tracing::warn!(session = %self.name, "{text}: what comes there is not heard");
        }
        tracing::info!(session = %self.name, "subscribed at the broker");
        self.client.send_replace(Some(client.clone()));
        self.health.send_modify(|health| {
            health.subscribed += 1;
            health.connected = true;
            health.trouble = None;
        });
        Ok(())
    }

    fn receive(&self, connection: &Arc<Connection>, publish: Publish) -> Option<Delivery> {
        let message = Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload.clone(),
            retained: publish.retain,
        };
        match self.unacknowledged.receive(connection, publish) {
            Received::New(ack) => Some(Delivery { message, ack, responder: None }),
            Received::Again => None,
        }
    }
}

/// A client for one connection. What is read from files is read now, so that a new password or certificate needs no
/// restart.
pub(super) fn connect(
    client_id: &str,
    broker: &BrokerAddress,
    clean_session: bool,
) -> Result<(AsyncClient, EventLoop), String> {
    let mut options = MqttOptions::new(client_id, (broker.host.clone(), broker.port));
    options
        .set_keep_alive(KEEP_ALIVE_S)
        .set_clean_session(clean_session)
        .set_ack_mode(AckMode::Manual)
        .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
        .set_read_batch_size(READ_BATCH_MAX)
        .set_inflight(100);
    match &broker.login {
        None => {}
        Some(MqttLogin { user, password: None }) => {
            options.set_username(user);
        }
        Some(MqttLogin { user, password: Some(password) }) => {
            let password = password.read().map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
            options.set_credentials(user, password.reveal().to_owned());
        }
    }
    if let Some(files) = &broker.tls {
        let config = keepsake_tls::client(files, Arc::new(DefaultTimeProvider))
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
    }
    let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
    let mut network = events.network_options();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(NETWORK_TIMEOUT_S);
    events.set_network_options(network);
    Ok((client, events))
}

/// Explains a failed connection for the person who configured it.
pub(super) fn explain(error: &ConnectionError) -> String {
    if let Some(trouble) = keepsake_tls::classify(error) {
        return match trouble {
            keepsake_tls::TlsFailure::Untrusted(text) => {
                format!("the broker is not believed: {text}")
            }
            keepsake_tls::TlsFailure::Refused(text) | keepsake_tls::TlsFailure::Failed(text) => text,
        };
    }
    match error {
        ConnectionError::ConnectionRefused(
            code @ (ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized),
        ) => format!(
            "the broker refuses the cloud's name or password ({code:?}); see --mqtt-username and --mqtt-password-file"
        ),
        // A broker without TLS hangs up on the first bytes of it.
        ConnectionError::Tls(error) => {
            format!("TLS handshake failed ({error}); is this the broker's plaintext port?")
        }
        other => other.to_string(),
    }
}
