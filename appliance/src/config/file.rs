//! `camera.toml` as people really save it: from Windows, with a BOM, with curly quotes, as `.toml.txt`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use toml::Table;

/// A larger file is no settings file.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 10;

/// The file's settings, and what had to be overlooked to read them.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed {
    pub(super) table: Table,
    pub(super) warnings: Vec<String>,
}

/// Reads the file, or the same with `.txt` behind it, which Windows adds and hides.
///
/// # Errors
/// A sentence about the file.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Option<String>), String> {
    let mut with_txt = path.as_os_str().to_owned();
    with_txt.push(".txt");
    let with_txt = PathBuf::from(with_txt);
    let (found, warning) = if !path.exists() && with_txt.is_file() {
        let warning = format!("the file is called {}, drop the .txt", with_txt.display());
        (with_txt, Some(warning))
    } else {
        (path.to_owned(), None)
    };
    let open = |path: &Path| {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    let bytes = open(&found).map_err(|e| format!("the file cannot be read: {e}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the file is larger than {FILE_BYTES_MAX} bytes"));
    }
    Ok((bytes, warning))
}

/// # Errors
/// A sentence that names the line. It never quotes the line, which could hold a password.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let text = decode(bytes)?;
    match text.parse::<Table>() {
        Ok(table) => Ok(Parsed {
            table,
            warnings: Vec::new(),
        }),
        Err(error) => {
            // Only a file that is wrong as it stands is straightened: a password may well hold a curly quote.
            if let Ok(table) = straighten(&text).parse::<Table>() {
                let warning = "typographic quotes or spaces were read as plain ones".to_owned();
                return Ok(Parsed {
                    table,
                    warnings: vec![warning],
                });
            }
            let line = error.span().map_or(1, |span| {
                1 + text[..span.start.min(text.len())].matches('\n').count()
            });
            Err(format!("line {line} is not TOML: {}", error.message()))
        }
    }
}

/// Bytes to text: UTF-8, or UTF-16 with its mark as old Windows editors write it.
fn decode(bytes: &[u8]) -> Result<String, String> {
    let wide = |unit: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units)
            .collect::<Result<String, _>>()
            .map_err(|_| "the file is no text".to_owned())
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => wide(u16::from_be_bytes, rest),
        _ => {
            let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            String::from_utf8(rest.to_vec()).map_err(|e| {
                let before = &rest[..e.utf8_error().valid_up_to()];
                let line = 1 + before.split(|&c| c == b'\n').count().saturating_sub(1);
                format!("line {line} is not UTF-8 text; save the file as UTF-8")
            })
        }
    }
}

fn straighten(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .map(|c| match c {
            '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' => '"',
            '\u{2018}'..='\u{201b}' => '\'',
            '\u{a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' => ' ',
            '\r' => '\n',
            plain => plain,
        })
        .filter(|&c| !matches!(c, '\u{200b}' | '\u{feff}'))
        .collect()
}

/// Replaces `path` by `bytes` so that a power cut leaves the old file or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let folder = path.parent().unwrap_or(Path::new("."));
    let beside = path.with_extension("new");
    // The file may hold a password, and a file left over by a power cut is in the way of nothing.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(bytes: &[u8]) -> (String, usize) {
        let parsed = parse(bytes).unwrap();
        let url = parsed.table["cloud"]["url"].as_str().unwrap().to_owned();
        (url, parsed.warnings.len())
    }

    #[test]
    fn a_file_from_any_editor_is_understood() {
        let plain = "[cloud]\nurl = \"mqtt://a\"\n";
        let mut utf16 = vec![0xff, 0xfe];
        utf16.extend(plain.encode_utf16().flat_map(u16::to_le_bytes));
        for (file, warnings) in [
            (plain.as_bytes().to_vec(), 0),
            (plain.replace('\n', "\r\n").into_bytes(), 0),
            (format!("\u{feff}{plain}").into_bytes(), 0),
            (utf16, 0),
            (plain.replace(" = ", "\t=\t").into_bytes(), 0),
            (plain.replace('"', "\u{201d}").into_bytes(), 1),
            (plain.replace(' ', "\u{a0}").into_bytes(), 1),
            (plain.replace('\n', "\r").into_bytes(), 1),
        ] {
            let (found, warned) = url(&file);
            assert_eq!(found, "mqtt://a", "{file:?}");
            assert_eq!(warned, warnings, "{file:?}");
        }
    }

    #[test]
    fn a_curly_quote_inside_a_good_file_stays() {
        assert_eq!(
            url("[cloud]\nurl = \"a\u{201d}b\"".as_bytes()).0,
            "a\u{201d}b"
        );
    }

    #[test]
    fn an_error_names_the_line_and_hides_what_it_says() {
        for (file, line) in [
            (&b"a = 1\nb = 2\npassword = hunter2 x\n"[..], "line 3"),
            (b"a = 1\npassword = hunter2\xff", "line 2"),
            (b"a = 1\na = 2", "line 2"),
        ] {
            let error = parse(file).unwrap_err();
            assert!(error.contains(line), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_hidden_txt_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("camera.toml");
        assert!(read(&path).is_err());
        fs::write(folder.path().join("camera.toml.txt"), "interval_s = 5").unwrap();
        let (bytes, warning) = read(&path).unwrap();
        assert_eq!(bytes, b"interval_s = 5");
        assert!(warning.unwrap().contains("drop the .txt"));
        fs::write(&path, vec![b'#'; 70_000]).unwrap();
        assert!(read(&path).unwrap_err().contains("larger than"));
    }

    proptest! {
        #[test]
        fn no_file_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
