//! Applies the settings file on the partition, or the last good one if it is missing or has errors.

use std::fs;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use super::find_settings_file::{self, Candidate};
use super::paths::{Paths, write_privately};
use crate::durable_file;
use crate::settings::{self, Level, Loaded, Network, Origin, Problem, SystemSettings, read_system_settings};

/// Most mistakes in the settings that are listed.
const MISTAKES_MAX: usize = 6;
const LAST_GOOD_USED: &str = "Until this is corrected, the last good settings are used (fault 1).";

/// The settings that apply at this start.
#[derive(Default)]
pub(super) struct AppliedSettings {
    /// The file whose settings apply; `None`: the defaults.
    pub(super) effective_file: Option<PathBuf>,
    pub(super) card: SystemSettings,
    /// The networks of the last good file, if the current one is invalid or missing.
    pub(super) kept: Vec<Network>,
    pub(super) sentences: Vec<String>,
}

/// Finds the settings on the partition, and puts them where the camera reads them.
///
/// Without settings, the camera finds none either, shows fault 1, and uses its own last good settings.
pub(super) fn apply_settings_file(paths: &Paths) -> AppliedSettings {
    let mut sentences = Vec::new();
    let for_the_camera = paths.etc.join("keepsake/camera.toml");
    let (chosen, about) = find_settings_file::select(candidates(paths)).unzip();
    sentences.extend(about.flatten());
    let name = chosen.map_or_else(|| "camera.toml".to_owned(), |file| file.name);
    let bytes = match settings::read_bounded(&paths.boot.join(&name)) {
        Ok(bytes) if !bytes.iter().all(u8::is_ascii_whitespace) => bytes,
        unread => {
            sentences.push(describe_unread(&name, unread));
            return without_file(paths, sentences);
        }
    };
    if let Err(error) = write_privately(&for_the_camera, &bytes) {
        tracing::error!("{error:#}");
    }
    let loaded = settings::load(Some(&for_the_camera), &[], false);
    sentences.extend(describe_problems(&name, &loaded));
    let card = read_system_settings(&bytes);
    if loaded.file_has_errors() {
        return with_last_good(paths, card, sentences);
    }
    // Avoids a write to the SD card at every start.
    let last_good = paths.last_good();
    if fs::read(&last_good).is_ok_and(|before| before == bytes) {
    } else if let Err(error) = durable_file::replace_privately(&last_good, &bytes) {
        tracing::warn!(%error, "keep a copy of the settings");
    }
    AppliedSettings {
        effective_file: Some(for_the_camera),
        card,
        sentences,
        ..AppliedSettings::default()
    }
}

fn without_file(paths: &Paths, mut sentences: Vec<String>) -> AppliedSettings {
    if let Err(error) = fs::remove_file(paths.etc.join("keepsake/camera.toml"))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::error!(%error, "remove the old settings");
    }
    let kept = fs::read(paths.last_good()).ok();
    sentences.push(match &kept {
        Some(_) => LAST_GOOD_USED.to_owned(),
        None => "Until then the camera uses its default settings (fault 1): no Wi-Fi, no cloud; pictures are kept on this card."
            .to_owned(),
    });
    AppliedSettings {
        effective_file: kept.is_some().then(|| paths.last_good()),
        card: read_system_settings(&kept.unwrap_or_default()),
        sentences,
        ..AppliedSettings::default()
    }
}

/// Adds the last good settings to the valid settings of a file with errors.
fn with_last_good(paths: &Paths, mut card: SystemSettings, mut sentences: Vec<String>) -> AppliedSettings {
    let Ok(before) = fs::read(paths.last_good()) else {
        sentences.push("Until this is corrected, the rest of the file is used (fault 1).".to_owned());
        return AppliedSettings {
            effective_file: Some(paths.etc.join("keepsake/camera.toml")),
            card,
            sentences,
            ..AppliedSettings::default()
        };
    };
    sentences.push(LAST_GOOD_USED.to_owned());
    let before = read_system_settings(&before);
    card.country = card.country.or(before.country);
    card.hostname = card.hostname.or(before.hostname);
    card.timezone = card.timezone.or(before.timezone);
    card.time_server = card.time_server.or(before.time_server);
    AppliedSettings {
        effective_file: Some(paths.last_good()),
        card,
        kept: before.networks,
        sentences,
    }
}

fn describe_problems(name: &str, loaded: &Loaded) -> Vec<String> {
    // Only the file matters to a person with a card reader, not the command line or the environment.
    let is_of_file = |problem: &&Problem| matches!(problem.origin, Origin::File(_) | Origin::Combination);
    let problems: Vec<_> = loaded.problems.iter().filter(is_of_file).collect();
    let mut sentences = Vec::new();
    for problem in problems.iter().take(MISTAKES_MAX) {
        let kind = match problem.level {
            Level::Warning => "Look at",
            Level::Error => "Mistake in",
        };
        let end = if problem.text.ends_with('?') { "" } else { "." };
        sentences.push(match problem.line {
            Some(line) => format!("{kind} line {line} of {name}: {}{end}", problem.text),
            None => format!("{kind} {name}: {}{end}", problem.text),
        });
    }
    if problems.len() > MISTAKES_MAX {
        sentences.push(format!("{name} has {} more mistakes.", problems.len() - MISTAKES_MAX));
    }
    if problems.is_empty() && !loaded.file_has_errors() {
        sentences.push(format!("{name} was read, and it has no mistakes."));
    }
    sentences
}

fn describe_unread(name: &str, unread: std::io::Result<Vec<u8>>) -> String {
    use std::io::ErrorKind;

    const COPY: &str =
        "What to do: put the camera.toml of the image, with your Wi-Fi and your cloud in it, on this card.";
    match unread.map_err(|error| (error.kind(), error)) {
        Ok(_) => format!("{name} is empty. {COPY}"),
        Err((ErrorKind::NotFound, _)) => format!("There is no camera.toml on this card. {COPY}"),
        Err((ErrorKind::IsADirectory, _)) => format!("{name} is a folder, not a file. {COPY}"),
        Err((ErrorKind::PermissionDenied, _)) => {
            format!("{name} cannot be read: its permissions do not allow it. {COPY}")
        }
        Err((_, error)) => {
            format!("{name} cannot be read ({error}); the card may be failing. What to do: try another card.")
        }
    }
}

fn candidates(paths: &Paths) -> Vec<Candidate> {
    let shipped = fs::read(&paths.shipped).ok();
    let Ok(entries) = fs::read_dir(&paths.boot) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if !about.is_file() || !find_settings_file::is_settings_name(&name) {
            continue;
        }
        let changed_at_s = about
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |time| time.as_secs());
        let same_size = shipped.as_ref().is_some_and(|shipped| shipped.len() as u64 == about.len());
        found.push(Candidate {
            is_as_shipped: same_size && fs::read(entry.path()).ok() == shipped,
            name,
            changed_at_s,
        });
    }
    found
}
