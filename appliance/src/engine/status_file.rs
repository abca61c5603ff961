//! The status file, for a person who reads the card on another computer.

use super::Engine;
use crate::durable_file::replace_privately;
use crate::status::text_file;

impl Engine {
    /// Writes once per start whether the cloud was reached.
    pub(super) fn write_first_status_file(&mut self) {
        if !std::mem::replace(&mut self.state.report.status_file_written, true) {
            self.write_status_file();
        }
    }

    pub(super) fn write_status_file(&self) {
        let config = self.settings.config();
        if config.status_file.as_os_str().is_empty() {
            return;
        }
        let text = text_file::text(&text_file::StatusReport {
            device: &self.device,
            cloud: &config.cloud.url.to_string(),
            not_connected_because: self.state.connection.disconnect_reasons.last().map(String::as_str),
            facts: &self.facts(),
        });
        let path = &config.status_file;
        let written = replace_privately(path, text.as_bytes());
        if let Err(error) = written {
            // The camera goes on without it.
            tracing::warn!(%error, path = %path.display(), "write the status file (status_file)");
        }
    }
}
