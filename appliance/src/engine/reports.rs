//! Reports to the cloud: inventory, status and journal.

use std::time::Duration;

use keepsake_protocol::inventory::{INVENTORY_PAGE_MAX, Inventory};
use keepsake_protocol::status::{Health, Presence, Queue, Status};
use keepsake_protocol::topic::MessageKind;

use super::{Engine, InventoryRequest, JOURNAL_WAIT_MIN};
use crate::status::diagnostics::temperature_mc;

const JOURNAL_WAIT_MAX: Duration = Duration::from_secs(6 * 3600);

impl Engine {
    /// Keeps what the clock says that is news, and sends what of the notes is due.
    pub(super) fn check_clock(&mut self) {
        let spool = self.spool.lock().spool_id();
        let now = self.clock.now();
        if self.journal.observe(&now, spool) {
            tracing::info!("the clock is synchronised: capture times of this boot are corrected");
            self.state.journal_due = (Duration::ZERO, JOURNAL_WAIT_MIN);
        }
        self.send_journal();
    }

    pub(super) fn send_journal(&mut self) {
        let Some(publisher) = &self.state.connection.publisher else {
            return;
        };
        let (due, wait) = self.state.journal_due;
        if self.state.connection.uploads_paused || self.now() < due {
            return;
        }
        for event in self.journal.unconfirmed() {
            if publisher.publish(MessageKind::Event, event.as_bytes().to_vec(), None).is_err() {
                return publisher.abandon();
            }
        }
        self.state.journal_due = (self.now() + wait, (wait * 2).min(JOURNAL_WAIT_MAX));
    }

    /// Asks the cloud what it has of all that waits here.
    pub(super) fn send_inventory(&mut self) {
        let Some(publisher) = &self.state.connection.publisher else {
            return;
        };
        self.state.connection.inventory_requests = self.state.connection.inventory_requests.wrapping_add(1);
        let mut pages = Vec::new();
        {
            let spool = self.spool.lock();
            let waiting = spool.pending();
            for held in spool.inventory() {
                let captures: Vec<_> = waiting
                    .iter()
                    .filter(|waiting| waiting.id.spool == held.spool)
                    .map(|waiting| (waiting.id.sequence, waiting.hash))
                    .collect();
                // A spool id with nothing to ask is asked about too: the answer says which number comes next.
                let chunks = captures.chunks(INVENTORY_PAGE_MAX).map(<[_]>::to_vec);
                let chunks: Vec<_> = if captures.is_empty() {
                    vec![Vec::new()]
                } else {
                    chunks.collect()
                };
                pages.extend(chunks.into_iter().map(|captures| (held.spool, held.next, captures)));
            }
        }
        let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let id = self.state.connection.inventory_requests;
        for (page, (spool, next, captures)) in (0..).zip(pages) {
            let inventory = Inventory { spool, next, id, page, pages: count, captures };
            if publisher
                .publish(MessageKind::Have, keepsake_protocol::codec::encode(&inventory), None)
                .is_err()
            {
                return publisher.abandon();
            }
        }
        self.state.connection.inventory_request = Some(InventoryRequest { id, unacknowledged: (0..count).collect() });
    }

    pub(super) fn publish_status(&mut self) {
        let Some(publisher) = &self.state.connection.publisher else {
            return;
        };
        let status = self.status();
        if publisher
            .publish(MessageKind::Status, keepsake_protocol::codec::encode(&status), None)
            .is_ok()
        {
            self.state.report.status_sent = Some(tokio::time::Instant::now());
            self.state.report.status_due = false;
            self.state.report.led = status.led;
        }
    }

    pub(super) fn status(&self) -> Status {
        let (settings_version, settings) = self.settings.report(self.boot_time());
        let spool = self.spool.lock();
        let (card_free, card_total) = spool.space().unwrap_or_default();
        Status {
            presence: Presence::Online,
            spools: spool.inventory(),
            queue: Queue {
                parked: self.drain.deferred() as u64,
                bytes_per_s: self.drain.rate(),
                ..spool.queue()
            },
            health: Health { card_free, card_total, temperature_mc: temperature_mc() },
            led: self.light.status(),
            faults: self.state.faults.iter().map(|fault| fault.number()).collect(),
            settings_version,
            settings: Some(Box::new(settings)),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reported_at: Some(self.clock.now()),
        }
    }
}
