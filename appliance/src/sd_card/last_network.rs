//! The Wi-Fi network that worked last, remembered on the card.

use std::fs;
use std::path::PathBuf;

use super::paths::Paths;
use crate::durable_file;
use crate::settings::Network;

fn file(paths: &Paths) -> PathBuf {
    paths.data.join("wifi-that-worked.json")
}

/// Saves the network that just worked with its password: the current settings may contain a wrong one for the same name.
pub(super) fn remember(paths: &Paths, network: &(String, String)) {
    let (name, password) = network;
    let before = read(paths);
    if before.first().is_some_and(|kept| (&kept.name, &kept.password) == (name, password)) {
        return;
    }
    // Only the network that works now is remembered.
    let pair = [network];
    if let Err(error) = serde_json::to_vec(&pair)
        .map_err(std::io::Error::other)
        .and_then(|bytes| durable_file::replace_privately(&file(paths), &bytes))
    {
        tracing::warn!(%error, "keep the Wi-Fi that works");
    }
}

pub(super) fn read(paths: &Paths) -> Vec<Network> {
    let pairs: Vec<(String, String)> = fs::read(file(paths))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    pairs.into_iter().map(|(name, password)| Network { name, password }).collect()
}
