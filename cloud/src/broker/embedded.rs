//! The embedded MQTT broker, and the only file that names `mqtt5`.
//!
//! It keeps nothing on disk: a camera removes nothing before a receipt, so a broker that forgets costs a resend and
//! nothing else. Nobody but the cloud is let in before the ingest has subscribed, because what is published to nobody
//! is acknowledged and gone. Who may do what is decided by the client id, on loopback only: `{device}.{8 hex}` is a
//! camera and keeps to its own topics; other names may watch everything and write what cameras write and what the lab's
//! and the owner's topics bring ([`ExternalTopics`]), never what the cloud says (`down/#`), so that no receipt can be
//! forged; `cloud.*` needs the password made at this start.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keepsake_protocol::DeviceId;
use keepsake_protocol::codec::{CAPTURE_BYTES_MAX, FRAME_OVERHEAD_MAX};
use keepsake_protocol::topic::{ROOT, may_publish};
use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::config::{BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;

use crate::config::{BROKER_QUEUE_BYTES_MAX, Config};
use crate::ingest::external::{self, ExternalTopics};
use crate::store::Store;

/// A name and a password for the cloud's own sessions.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub user: String,
    pub password: String,
}

/// A broker inside this process, whichever crate it is made of.
pub(crate) trait LocalBroker: Send + Sync {
    /// The address it listens on, with its real port.
    fn address(&self) -> SocketAddr;
    /// Returns the credentials of the cloud's own sessions.
    fn credentials(&self) -> Credentials;
    /// Lets in everyone else from now on.
    fn accept_clients(&self);
    /// Ends it; connections are closed.
    fn stop(&self);
}

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
#[error("start the embedded broker on --mqtt-listen {address} (choose another port; port 0 selects a free port)")]
pub struct BrokerError {
    pub address: SocketAddr,
    source: mqtt5::MqttError,
}

/// The largest message that cameras may send, bytes: one picture in one message.
pub(crate) const MESSAGE_BYTES_MAX: u64 = CAPTURE_BYTES_MAX + FRAME_OVERHEAD_MAX as u64;

const CLOUD_USER: &str = "cloud";
/// Client ids of the cloud's own sessions begin with this.
const CLOUD_PREFIX: &str = "cloud.";

/// Starts the embedded broker on `address`; it runs until it is stopped.
///
/// # Errors
/// [`BrokerError`]: mostly a port that is taken.
pub(crate) async fn start(
    config: &Config,
    store: &Store,
    address: SocketAddr,
) -> Result<Arc<dyn LocalBroker>, BrokerError> {
    let failed = |source| BrokerError { address, source };
    // With the topic of the message.
    let packet_bytes_max = usize::try_from(MESSAGE_BYTES_MAX).unwrap_or(usize::MAX) + 1024;
    let storage = StorageConfig::default()
        .with_backend(StorageBackend::Memory)
        .with_max_queued_messages_per_client(1_000_000)
        .with_max_queued_bytes_per_client(BROKER_QUEUE_BYTES_MAX);
    let broker_config = BrokerConfig::default()
        .with_bind_address(address)
        .with_max_packet_size(packet_bytes_max)
        .with_max_outbound_inflight(config.mqtt_inflight_max)
        .with_max_retained_messages(10_000)
        .with_max_retained_message_size(keepsake_protocol::codec::JSON_BYTES_MAX)
        .with_sys_topics_enabled(false)
        .with_storage(storage);
    let door = Arc::new(ClientAuthorizer {
        external: config.external.clone(),
        closes_with_owner: config.anonymous_upload.is_none().then(|| store.clone()),
        password: hex::encode(rand::random::<[u8; 16]>()),
        open: AtomicBool::new(false),
    });
    let mut broker = MqttBroker::with_config(broker_config)
        .await
        .map_err(failed)?
        .with_auth_provider(door.clone());
    let address = broker.local_addr().unwrap_or(address);
    let shutdown = broker.shutdown_handle();
    let mut ready = broker.ready_receiver();
    tokio::spawn(async move {
        if let Err(error) = broker.run().await {
            tracing::error!("the embedded broker ended: {error}");
        }
    });
    // An error means the task above has ended, and has said so.
    let _ = ready.wait_for(|ready| *ready).await;
    Ok(Arc::new(Embedded { address, door, shutdown }))
}

struct Embedded {
    address: SocketAddr,
    door: Arc<ClientAuthorizer>,
    shutdown: BrokerShutdownHandle,
}

impl LocalBroker for Embedded {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn credentials(&self) -> Credentials {
        Credentials {
            user: CLOUD_USER.to_owned(),
            password: self.door.password.clone(),
        }
    }

    fn accept_clients(&self) {
        self.door.open.store(true, Ordering::Release);
    }

    fn stop(&self) {
        self.shutdown.shutdown();
    }
}

/// Decides who comes in and what they may do.
struct ClientAuthorizer {
    /// Topics of cameras that know nothing of Keepsake.
    external: ExternalTopics,
    /// Set where anonymous upload ends as soon as there is an owner.
    closes_with_owner: Option<Store>,
    password: String,
    open: AtomicBool,
}

/// The kind of a client, by its id.
#[derive(Debug, PartialEq, Eq)]
enum Client {
    Cloud,
    Camera(DeviceId),
    Other,
}

impl Client {
    fn of(client_id: &str) -> Self {
        if client_id
            .get(..CLOUD_PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(CLOUD_PREFIX))
        {
            return Self::Cloud;
        }
        let camera = client_id.rsplit_once('.').and_then(|(device, spool)| {
            let hex = spool.len() == 8 && spool.bytes().all(|c| c.is_ascii_hexdigit());
            if hex { device.parse().ok() } else { None }
        });
        camera.map_or(Self::Other, Self::Camera)
    }

    fn may_publish(&self, topic: &str, external: &ExternalTopics) -> bool {
        match self {
            Self::Cloud => true,
            Self::Camera(device) => may_publish(device, topic),
            Self::Other => {
                let rest = topic
                    .strip_prefix(ROOT)
                    .and_then(|rest| rest.strip_prefix('/'))
                    .and_then(|rest| rest.split_once('/'));
                rest.is_some_and(|(_, path)| path.starts_with("up/")) || external.matches_topic(topic)
            }
        }
    }

    fn may_subscribe(&self, filter: &str) -> bool {
        match self {
            Self::Cloud | Self::Other => true,
            Self::Camera(device) => filter
                .strip_prefix(ROOT)
                .and_then(|rest| rest.strip_prefix('/'))
                .and_then(|rest| rest.strip_prefix(device.as_str()))
                .is_some_and(|rest| rest.starts_with("/down/")),
        }
    }
}

type AuthFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for ClientAuthorizer {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _from: SocketAddr,
    ) -> AuthFuture<'a, mqtt5::Result<AuthResult>> {
        let is_cloud = connect.username.as_deref() == Some(CLOUD_USER)
            && connect.password.as_deref() == Some(self.password.as_bytes());
        let answer = match Client::of(&connect.client_id) {
            Client::Cloud if is_cloud => AuthResult::success_with_user(CLOUD_USER),
            Client::Cloud => AuthResult::fail(ReasonCode::NotAuthorized),
            Client::Camera(_) | Client::Other if !self.open.load(Ordering::Acquire) => {
                AuthResult::fail(ReasonCode::ServerUnavailable)
            }
            Client::Camera(_) | Client::Other => AuthResult::success(),
        };
        Box::pin(async move { Ok(answer) })
    }

    fn authorize_publish<'a>(
        &'a self,
        client_id: &str,
        _user: Option<&'a str>,
        topic: &'a str,
    ) -> AuthFuture<'a, bool> {
        let may = Client::of(client_id).may_publish(topic, &self.external);
        Box::pin(async move {
            let store = self.closes_with_owner.as_ref();
            match store.filter(|_| may && external::is_anonymous_topic(topic)) {
                Some(store) => !store.has_owner().await.unwrap_or(true),
                None => may,
            }
        })
    }

    fn authorize_subscribe<'a>(
        &'a self,
        client_id: &str,
        _user: Option<&'a str>,
        filter: &'a str,
    ) -> AuthFuture<'a, bool> {
        let may = Client::of(client_id).may_subscribe(filter);
        Box::pin(async move { may })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anonymous_topics() -> ExternalTopics {
        ExternalTopics::new(true, &std::collections::BTreeMap::new()).unwrap()
    }

    #[test]
    fn a_camera_keeps_to_its_own_topics() {
        let camera = Client::of("porch.0123abcd");
        assert_eq!(camera, Client::Camera("porch".parse().unwrap()));
        assert!(camera.may_publish("keepsake/v1/porch/up/frame", &anonymous_topics()));
        assert!(!camera.may_publish("keepsake/v1/shed/up/frame", &anonymous_topics()));
        assert!(!camera.may_publish("keepsake/v1/porch/down/receipt", &anonymous_topics()));
        assert!(!camera.may_publish("camera/image", &anonymous_topics()));
        assert!(camera.may_subscribe("keepsake/v1/porch/down/#"));
        for filter in ["#", "keepsake/v1/+/down/#", "keepsake/v1/porch/#", "keepsake/v1/porch2/down/#"] {
            assert!(!camera.may_subscribe(filter), "{filter}");
        }
    }

    #[test]
    fn nobody_but_the_cloud_says_what_the_cloud_says() {
        for id in ["observer", "porch.xyz", "cloudy", "", "cloud"] {
            let client = Client::of(id);
            assert_eq!(client, Client::Other, "{id}");
            assert!(client.may_subscribe("#"));
            assert!(client.may_publish("keepsake/v1/porch/up/frame", &anonymous_topics()));
            assert!(!client.may_publish("keepsake/v1/porch/down/receipt", &anonymous_topics()));
            assert!(client.may_publish("camera/image", &anonymous_topics()));
            assert!(client.may_publish("camera/porch/image", &anonymous_topics()));
            assert!(!client.may_publish("camera/image", &ExternalTopics::default()));
            assert!(!client.may_publish("anything/else", &anonymous_topics()));
        }
        assert_eq!(Client::of("CLOUD.frames"), Client::Cloud);
    }
}
