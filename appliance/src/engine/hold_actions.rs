//! The actions of holding the button: reconnect, or forget the cloud. And the status file, for
//! a person who reads the card on another computer.

use super::Engine;
use crate::button::press_or_hold::HoldAction;
use crate::error::display_chain;
use crate::settings::replace_privately;
use crate::status::events::Event;
use crate::status::text_file;

impl Engine {
    pub(super) fn on_hold_action(&mut self, action: HoldAction) {
        match action {
            HoldAction::Reconnect => {
                tracing::info!("the button was held: the settings are read again");
                self.events.emit(&Event::Held { wish: "reconnect" });
                self.write_status_file();
                // A new start reads camera.toml, and tries every way to the cloud from the first on.
                self.restart_due = true;
            }
            HoldAction::Forget => {
                let forgotten = self.spool.lock().unpair();
                match forgotten {
                    Ok(count) => {
                        tracing::warn!(
                            count,
                            "the button was held: the next cloud is accepted, and offered every picture on the card"
                        );
                        self.events.emit(&Event::Held { wish: "forget" });
                        self.restart_due = true;
                    }
                    Err(error) => {
                        let text = display_chain(&error);
                        tracing::error!(error = text, "forget the cloud");
                        self.events.emit(&Event::Warning { text: &text });
                    }
                }
            }
        }
    }

    /// Tells once a start in the status file whether the cloud was reached.
    pub(super) fn write_first_status_file(&mut self) {
        if !std::mem::replace(&mut self.status_file_written, true) {
            self.write_status_file();
        }
    }

    fn write_status_file(&self) {
        let config = self.settings.config();
        if config.status_file.as_os_str().is_empty() {
            return;
        }
        let text = text_file::text(&text_file::StatusReport {
            device: &self.device,
            cloud: &config.cloud.url.to_string(),
            not_connected_because: self.disconnect_reasons.last().map(String::as_str),
            facts: &self.facts(),
        });
        let path = &config.status_file;
        let written = tokio::task::block_in_place(|| replace_privately(path, text.as_bytes()));
        if let Err(error) = written {
            // The camera goes on without it.
            tracing::warn!(%error, path = %path.display(), "write the status file (status_file)");
        }
    }
}
