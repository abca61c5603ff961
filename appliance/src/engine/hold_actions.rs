//! The actions of holding the button: reconnect, or forget the cloud.

use super::Engine;
use crate::button::press_or_hold::HoldAction;
use crate::error::display_chain;
use crate::status::events::Event;

impl Engine {
    pub(super) fn on_hold_action(&mut self, action: HoldAction) {
        match action {
            HoldAction::Reconnect => {
                tracing::info!("the button was held: the settings are read again");
                self.events.emit(&Event::Held { wish: "reconnect" });
                self.write_status_file();
                // A new start reads camera.toml, and tries every way to the cloud from the first on.
                self.state.restart_due = true;
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
                        self.state.restart_due = true;
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
}
