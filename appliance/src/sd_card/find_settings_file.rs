//! Selects the settings file among the files on the card.

/// A file on the `KEEPSAKE` partition that may be the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The file name.
    pub name: String,
    /// The time of the last change by the clock of the computer that made it, in seconds since 1970.
    pub changed_at_s: u64,
    /// The content is the same as in the image.
    pub is_as_shipped: bool,
}

/// Returns true for a name of a settings file: `camera.toml` as editors, browsers and Windows name it.
pub(super) fn is_settings_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // Temporary files of editors and of macOS.
    if name.starts_with(['.', '~', '#', '_']) || name.ends_with(['~', '#']) || name == "camera-status.txt" {
        return false;
    }
    let mut rest = name.as_str();
    while let Some(shorter) = rest.strip_suffix(".txt").or_else(|| rest.strip_suffix(".toml")) {
        rest = shorter;
    }
    if rest.len() == name.len() {
        return false;
    }
    // "camera (1)", "camera - copy", "camera-1", "Kopie von camera".
    rest.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word == "camera")
}

/// Returns the file to read, and a sentence about the others.
///
/// The file that was changed last is selected, because it was just saved. An unchanged file from the image has the
/// lowest priority, and `camera.toml` itself is preferred if nothing else decides.
pub(super) fn select(mut candidates: Vec<Candidate>) -> Option<(Candidate, Option<String>)> {
    candidates.sort_by_key(|file| {
        (
            !file.is_as_shipped,
            file.changed_at_s,
            file.name.eq_ignore_ascii_case("camera.toml"),
            std::cmp::Reverse(file.name.clone()),
        )
    });
    let chosen = candidates.pop()?;
    let others: Vec<&str> = candidates.iter().map(|file| file.name.as_str()).collect();
    let sentence = if others.is_empty() {
        (!chosen.name.eq_ignore_ascii_case("camera.toml"))
            .then(|| format!("The settings were read from {}; rename it to camera.toml.", chosen.name))
    } else {
        Some(format!(
            "There are several settings files. {} was read, because it was changed last; {} was ignored. Delete the files you do not need.",
            chosen.name,
            others.join(" and ")
        ))
    };
    Some((chosen, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_known_under_every_name_people_give_them() {
        for name in [
            "camera.toml",
            "CAMERA.TOML",
            "camera.toml.txt",
            "Camera.Toml.TXT",
            "camera.txt",
            "camera.toml.toml",
            "camera (1).toml",
            "camera - Copy.toml",
            "Kopie von camera.toml",
        ] {
            assert!(is_settings_name(name), "{name}");
        }
        for name in [
            "CAMERA-STATUS.txt",
            "camera.toml~",
            "._camera.toml",
            "~camera.toml",
            "config.txt",
            "cameras.toml",
            "camera",
        ] {
            assert!(!is_settings_name(name), "{name}");
        }
    }

    #[test]
    fn the_file_that_was_saved_last_is_read() {
        let file =
            |name: &str, changed_at_s, is_as_shipped| Candidate { name: name.to_owned(), changed_at_s, is_as_shipped };
        let check = |files: &[Candidate], expected: &str, says: bool| {
            let (chosen, sentence) = select(files.to_vec()).unwrap();
            assert_eq!(chosen.name, expected);
            assert_eq!(sentence.is_some(), says, "{sentence:?}");
        };
        check(&[file("camera.toml", 5, false)], "camera.toml", false);
        check(&[file("camera.toml.txt", 5, false)], "camera.toml.txt", true);
        // Notepad has added .txt, and the file of the image is still there, with any time.
        check(
            &[file("camera.toml", 9, true), file("camera.toml.txt", 5, false)],
            "camera.toml.txt",
            true,
        );
        check(&[file("camera (1).toml", 5, false), file("camera.toml", 9, false)], "camera.toml", true);
        check(&[file("camera.toml", 5, false), file("camera (1).toml", 5, false)], "camera.toml", true);
        assert_eq!(select(Vec::new()), None);
    }
}
