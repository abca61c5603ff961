//! The witnesses of everything between cameras and one cloud: each receipt and each acknowledgement is checked.

use std::time::Duration;

use crate::cloud::Cloud;
use crate::http_proxy::HttpProxy;
use crate::mqtt_proxy::MqttProxy;
use crate::receipt_observer::ReceiptObserver;

/// The witnesses of uploads over MQTT.
#[derive(Debug)]
pub struct MqttWitnesses {
    pub proxy: MqttProxy,
    pub observer: ReceiptObserver,
}

impl MqttWitnesses {
    /// Starts the cloud with a proxy between it and the broker on this port, which may be its own.
    pub fn start(cloud: &mut Cloud, broker_port: u16) -> Self {
        let proxy = MqttProxy::start(broker_port, cloud.database());
        cloud.ingest_through(proxy.port());
        cloud.start();
        let observer = ReceiptObserver::start(broker_port, cloud.database());
        observer.wait_until_subscribed(Duration::from_secs(20));
        Self { proxy, observer }
    }

    /// Fails the test if anything was confirmed before its commit.
    ///
    /// Returns how many captures in receipts and how many acknowledgements were checked.
    pub fn verdict(self) -> (u64, u64) {
        (self.observer.verdict(), self.proxy.verdict())
    }
}

/// The witnesses of uploads over MQTT or HTTP.
#[derive(Debug)]
pub enum Witnesses {
    Mqtt { broker_port: u16, witnesses: MqttWitnesses },
    Http(HttpProxy),
}

impl Witnesses {
    /// Starts the cloud and its witnesses. Without the port of a broker, cameras use HTTP.
    pub fn start(cloud: &mut Cloud, broker_port: Option<u16>) -> Self {
        if let Some(broker_port) = broker_port {
            let witnesses = MqttWitnesses::start(cloud, broker_port);
            return Self::Mqtt { broker_port, witnesses };
        }
        cloud.start();
        Self::Http(HttpProxy::start(cloud.http_port(), cloud.database()))
    }

    /// Returns the URL of the cloud for a camera.
    pub fn url(&self) -> String {
        match self {
            Self::Mqtt { broker_port, .. } => format!("mqtt://127.0.0.1:{broker_port}"),
            Self::Http(web) => web.url(),
        }
    }

    /// Cuts every connection through a proxy.
    pub fn cut(&self) {
        match self {
            Self::Mqtt { witnesses, .. } => witnesses.proxy.cut(),
            Self::Http(web) => web.cut(),
        }
    }

    /// Fails the test if anything was confirmed before its commit.
    ///
    /// Returns how many captures in receipts and how many acknowledgements were checked; HTTP has no acknowledgements.
    pub fn verdict(self) -> (u64, u64) {
        match self {
            Self::Mqtt { witnesses, .. } => witnesses.verdict(),
            Self::Http(web) => (web.verdict(), 0),
        }
    }
}
