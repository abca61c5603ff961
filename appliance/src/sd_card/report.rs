//! The status of the running camera in sentences, as the system reports it.

use std::process::Command;

use super::paths::{Paths, stdout_of};
use super::prepare::Prepared;
use super::{wifi, wifi_fallback};
use crate::net::{self, Address};

/// Returns the current status, without numbers that change all the time.
pub(super) fn current_sentences(prepared: &Prepared, paths: &Paths) -> Vec<String> {
    let mut sentences = prepared.sentences.clone();
    sentences.extend(network_sentences(prepared, paths));
    if prepared.cloud_is_unset {
        sentences.push(
            "No cloud is set. What to do: write its address into camera.toml, url = \"...\" under [cloud].".to_owned(),
        );
    }
    sentences.push(camera_sentence());
    sentences
}

fn network_sentences(prepared: &Prepared, paths: &Paths) -> Vec<String> {
    let addresses = net::addresses();
    let by = |start: &str| addresses.iter().find(|address| address.interface.starts_with(start));
    let mut sentences = Vec::new();
    if let Some(address) = by("eth").or(by("usb")) {
        sentences.push(format!("Network: by cable, address {}.", address.ip));
    }
    if prepared.networks.is_empty() {
        if addresses.is_empty() {
            sentences.push(
                "No network (fault 2): there is no cable, and no Wi-Fi in camera.toml. Pictures are kept on this card."
                    .to_owned(),
            );
        }
        return sentences;
    }
    match (wifi::connected_network(&wpa_cli("status")), by("wlan")) {
        (Some((id, name)), Some(address)) => {
            sentences.push(format!("Network: Wi-Fi \"{name}\", address {}.", address.ip));
            if let Some(network) = prepared.networks.get(id) {
                wifi_fallback::remember(paths, network);
            }
        }
        (Some((_, name)), None) => sentences.push(format!(
            "Wi-Fi \"{name}\" was joined but assigned no address. What to do: restart the router."
        )),
        (None, _) => sentences.extend(no_wifi_sentences(&addresses)),
    }
    sentences
}

fn no_wifi_sentences(addresses: &[Address]) -> Vec<String> {
    let log = stdout_of(Command::new("journalctl").args([
        "--boot",
        "--quiet",
        "--output=cat",
        "--unit=wpa_supplicant@wlan0.service",
    ]));
    let mut sentences: Vec<String> = wifi::refused_networks(&log)
        .into_iter()
        .map(|name| {
            format!("Could not join Wi-Fi \"{name}\": the password was refused. What to do: correct it in camera.toml.")
        })
        .collect();
    if addresses.is_empty() {
        let in_range = wifi::visible_networks(&wpa_cli("scan_results"));
        let names: Vec<String> = in_range.into_iter().take(8).map(|(name, _)| name).collect();
        sentences.push(if names.is_empty() {
            "No network (fault 2): no Wi-Fi is in range, or this board has no Wi-Fi. Pictures are kept on this card."
                .to_owned()
        } else {
            format!(
                "No network (fault 2): no Wi-Fi of camera.toml could be joined. In range: {}. Pictures are kept on this card.",
                names.join(", ")
            )
        });
    }
    sentences
}

fn wpa_cli(what: &str) -> String {
    stdout_of(Command::new("wpa_cli").args(["-i", "wlan0", what]))
}

fn camera_sentence() -> String {
    let service = stdout_of(Command::new("systemctl").args([
        "show",
        "--property=ActiveState",
        "--property=StatusText",
        "keepsake-appliance.service",
    ]));
    let field = |name: &str| {
        let mut lines = service.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    match (field("ActiveState"), field("StatusText")) {
        ("active", "") => "Camera: ready for a press.".to_owned(),
        ("active", text) => format!("Camera: ready for a press. Cloud: {text}."),
        ("activating", _) => "Camera: starting.".to_owned(),
        _ => "Camera: the program has stopped (fault 7). What to do: read the log on this card, or restart the camera."
            .to_owned(),
    }
}
