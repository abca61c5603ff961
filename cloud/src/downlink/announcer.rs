//! The messages that the cloud sends to cameras unasked: what it is (`down/cloud`, retained), what it wishes of their
//! settings (`down/settings`, retained), and commands that waited.

use std::collections::HashSet;
use std::sync::Arc;

use keepsake_protocol::cloud_info::CloudInfo;
use keepsake_protocol::command::{Command as WireCommand, CommandKind};
use keepsake_protocol::settings::DesiredSettings;
use keepsake_protocol::status::Presence;
use keepsake_protocol::topic::{MessageKind, Topic};
use keepsake_protocol::{DeviceId, codec};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::COMMAND_EXPIRY_US;
use crate::downlink::Downlink;
use crate::ingest::window_budget::START_WINDOW_BYTES;
use crate::now_us;
use crate::ops::backpressure::Backpressure;
use crate::store::{Command, Store, StoreError};

/// Speaks to cameras; clones speak with one voice.
#[derive(Clone)]
pub struct Announcer {
    store: Store,
    control: Downlink,
    backpressure: Backpressure,
    /// Another number means another start: cameras ask `up/have` again.
    started: u64,
    capture_bytes_max: u64,
    /// The largest message that the broker carries, once that is known.
    message_bytes_max: watch::Receiver<Option<u64>>,
    announced: Arc<Mutex<HashSet<DeviceId>>>,
    /// Held from reading the state until it is handed over: the retained message must be the latest, whichever task
    /// sends it.
    sending: Arc<tokio::sync::Mutex<()>>,
}

impl Announcer {
    pub fn new(
        store: Store,
        control: Downlink,
        backpressure: Backpressure,
        capture_bytes_max: u64,
        message_bytes_max: watch::Receiver<Option<u64>>,
    ) -> Self {
        Self {
            store,
            control,
            backpressure,
            // Every JSON reader keeps numbers below 2^53 exact.
            started: rand::random::<u64>() >> 11,
            capture_bytes_max,
            message_bytes_max,
            announced: Arc::default(),
            sending: Arc::default(),
        }
    }

    /// Tells every known camera now, and again whenever the broker was away, or the hold or the broker's limit changes.
    pub async fn run(self, stop: CancellationToken) {
        let mut health = self.control.health();
        let mut hold = self.backpressure.watch();
        let mut message_bytes_max = self.message_bytes_max.clone();
        loop {
            self.announce_all().await;
            let changed = async {
                tokio::select! {
                    changed = health.changed() => changed.is_ok(),
                    changed = hold.changed() => changed.is_ok(),
                    // The limit of the embedded broker never changes.
                    Ok(()) = message_bytes_max.changed() => true,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changed => if !changed { return },
            }
        }
    }

    /// Tells every known camera what the cloud is and whether it takes anything.
    pub async fn announce_all(&self) {
        let mut devices: HashSet<DeviceId> = self.announced.lock().clone();
        match self.store.presences(now_us()).await {
            Ok(known) => devices.extend(known.into_iter().map(|(device, _)| device)),
            // The hold itself may be the news, so those met since the start are told even so.
            Err(error) => tracing::warn!("list cameras to tell them: {:#}", anyhow::Error::from(error)),
        }
        for device in devices {
            self.announced.lock().insert(device.clone());
            self.send_cloud_info(&device).await;
        }
    }

    /// Tells a camera that is heard of for the first time.
    pub async fn announce_if_new(&self, device: &DeviceId) {
        let new = self.announced.lock().insert(device.clone());
        if new {
            self.send_cloud_info(device).await;
        }
    }

    /// Tells a camera that has just come by HTTP what a broker would have kept for it.
    pub async fn announce(&self, device: &DeviceId) {
        self.announced.lock().insert(device.clone());
        self.send_cloud_info(device).await;
    }

    /// Notes a command and sends it, at once if the camera is there, else when it comes back before the expiry.
    ///
    /// # Errors
    /// [`StoreError`]: it is not noted and will not be sent.
    pub async fn send_command(&self, device: &DeviceId, command: CommandKind) -> Result<Command, StoreError> {
        let created_us = now_us();
        let mut noted = Command {
            id: hex::encode(rand::random::<[u8; 16]>()),
            device: device.clone(),
            command,
            created_us,
            expires_us: created_us + COMMAND_EXPIRY_US,
            sent_us: None,
            stages: Vec::new(),
            capture: None,
            result: None,
        };
        self.store.insert_command(&noted).await?;
        let there = self
            .store
            .device(device, created_us)
            .await?
            .is_some_and(|device| device.presence == Presence::Online);
        if there && self.publish_command(&noted).await? {
            noted.sent_us = Some(created_us);
        }
        Ok(noted)
    }

    /// Sends again what a camera has not answered, unless it has expired: it may have been away, or gone before it read
    /// it. One that it has read is known by its id and only answered.
    pub async fn send_waiting_commands(&self, device: &DeviceId) {
        let sent = async {
            for command in self.store.waiting_commands(device, now_us()).await? {
                self.publish_command(&command).await?;
            }
            Ok::<(), StoreError>(())
        };
        if let Err(error) = sent.await {
            tracing::warn!(%device, "send waiting commands: {:#}", anyhow::Error::from(error));
        }
    }

    async fn publish_command(&self, command: &Command) -> Result<bool, StoreError> {
        let now_us = now_us();
        let wire = WireCommand {
            id: command.id.clone(),
            command: command.command,
            sent_us: now_us,
            expires_us: command.expires_us,
        };
        let topic = Topic::new(&command.device, MessageKind::Command);
        let sent = self.control.publish(&topic, codec::encode(&wire)).await;
        if sent {
            self.store.mark_command_sent(&command.id, now_us).await?;
        }
        Ok(sent)
    }

    /// Tells a camera what is wished of its settings.
    pub async fn send_settings(&self, device: &DeviceId) {
        let _turn = self.sending.lock().await;
        self.publish_settings(device, None).await;
    }

    /// Tells it again if it says that it is behind: the broker may have forgotten.
    pub async fn resend_settings_if_behind(&self, device: &DeviceId, has: u64) {
        let _turn = self.sending.lock().await;
        self.publish_settings(device, Some(has)).await;
    }

    async fn publish_settings(&self, device: &DeviceId, has: Option<u64>) {
        let desired = match self.store.settings(device).await {
            Ok(Some(desired)) if has.is_none_or(|has| has < desired.version) => desired,
            Ok(_) => return,
            Err(error) => {
                let error = anyhow::Error::from(error);
                return tracing::warn!(%device, "read settings to tell them: {error:#}");
            }
        };
        let wire = DesiredSettings {
            version: desired.version,
            store: Some(self.store.id()),
            revision: desired.revision,
            values: desired.values,
        };
        let topic = Topic::new(device, MessageKind::Settings);
        self.control.publish(&topic, codec::encode(&wire)).await;
    }

    async fn send_cloud_info(&self, device: &DeviceId) {
        let _turn = self.sending.lock().await;
        let cloud = CloudInfo {
            store: self.store.id(),
            started: self.started,
            capture_bytes_max: self.capture_bytes_max,
            hold: self.backpressure.state().reason().map(str::to_owned),
            window: Some(START_WINDOW_BYTES),
            message_bytes_max: *self.message_bytes_max.borrow(),
        };
        let topic = Topic::new(device, MessageKind::Cloud);
        self.control.publish(&topic, codec::encode(&cloud)).await;
        self.publish_settings(device, None).await;
    }
}
