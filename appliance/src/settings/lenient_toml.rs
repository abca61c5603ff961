//! Reads `camera.toml` as people really save it: from Windows, with a BOM, with curly quotes, as `.toml.txt`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::Table;
use toml::de::{DeTable, DeValue};

use super::suggest;

/// Larger than any settings file.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Lines that are corrected or dropped before the whole file is rejected.
const ROUNDS_MAX: usize = 200;
/// The quotes of multi-line text.
const MULTI_LINE: [&str; 2] = ["\"\"\"", "'''"];

/// A sentence about a line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxRemark {
    /// From 1; `None`: the whole file.
    pub(super) line: Option<usize>,
    pub(super) text: String,
}

/// The settings of the readable lines, and remarks on the others.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed {
    pub(super) table: Table,
    /// Remarks on lines that were corrected.
    pub(super) warnings: Vec<SyntaxRemark>,
    /// Remarks on lines that were dropped.
    pub(super) mistakes: Vec<SyntaxRemark>,
    lines: BTreeMap<String, usize>,
}

impl Parsed {
    pub(super) fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// Returns the line of a setting, such as `cloud.url` or `wifi.2.name`, or of its section.
    pub(super) fn line_of(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = key.rsplit_once('.')?.0;
        }
    }
}

/// Reads the file, or the same name with `.txt` appended, which Windows adds and hides. The error is a sentence.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Option<String>), String> {
    let mut with_txt = path.as_os_str().to_owned();
    with_txt.push(".txt");
    let with_txt = PathBuf::from(with_txt);
    let (found, warning) = if !path.exists() && with_txt.is_file() {
        let warning = format!("the file is named {}; remove the .txt", with_txt.display());
        (with_txt, Some(warning))
    } else {
        (path.to_owned(), None)
    };
    let bytes = read_bounded(&found).map_err(|e| format!("the file cannot be read: {e}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "the file is larger than {} KB, too large for a settings file; is it the right one?",
            FILE_BYTES_MAX >> 10
        ));
    }
    Ok((bytes, warning))
}

/// Reads the file, or enough of it to see that it is too large.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads every readable line, so that one missing quote does not disable the Wi-Fi.
///
/// Never quotes an unreadable line, which could contain a password. The error is a sentence about a file that is not text,
/// or not settings at all.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let (text, mut warnings) = decode(bytes)?;
    if let Some(what) = suggest::for_file(&text) {
        return Err(what);
    }
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let mut straightened = Vec::new();
    let mut mistakes: Vec<SyntaxRemark> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let text = lines.join("\n");
        let error = match text.parse::<Table>() {
            Ok(table) => {
                warnings.extend(group_remarks(straightened.into_iter().map(|line| SyntaxRemark {
                    line: Some(line),
                    text: "typographic quotes or spaces were read as plain characters".to_owned(),
                })));
                let lines = line_numbers(&text);
                return Ok(Parsed { table, warnings, mistakes: group_remarks(mistakes), lines });
            }
            Err(error) => error,
        };
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let mut index = line_at(text.as_bytes(), at) - 1;
        // Unterminated multi-line text is reported at the end of the file.
        while index > 0 && lines[index].trim().is_empty() {
            index -= 1;
        }
        if error.message().contains("multi-line")
            && let Some(opened) = lines.iter().rposition(|line| MULTI_LINE.iter().any(|q| line.contains(q)))
        {
            index = opened;
        }
        // Only an invalid line is corrected, because a password may contain a curly quote.
        let straight = replace_typographic_quotes(&lines[index]);
        if straight != lines[index] {
            lines[index] = straight;
            straightened.push(index + 1);
            continue;
        }
        let before = (error.message() == "duplicate key").then(|| earlier_duplicate(&lines, index)).flatten();
        let is_section = lines[index].trim_start().starts_with('[');
        mistakes.push(SyntaxRemark {
            line: Some(index + 1),
            text: suggest::for_line(&lines[index], before),
        });
        lines[index].clear();
        // The settings below an invalid section would otherwise belong to the section above it.
        if is_section {
            for line in &mut lines[index + 1..] {
                if line.trim_start().starts_with('[') {
                    break;
                }
                line.clear();
            }
        }
    }
    Err("too many lines of the file are not settings; start again from the camera.toml of the image".to_owned())
}

/// Returns the earlier line with the same name or section.
fn earlier_duplicate(lines: &[String], index: usize) -> Option<usize> {
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let section = |line: &str| line.trim().trim_matches(['[', ']']).trim().to_owned();
    let line = &lines[index];
    if line.trim_start().starts_with('[') {
        let found = lines[..index]
            .iter()
            .position(|above| above.trim_start().starts_with('[') && section(above) == section(line));
        return found.map(|found| found + 1);
    }
    let found = lines[..index].iter().rposition(|above| name(above) == name(line));
    found.map(|found| found + 1)
}

/// Returns the line of every setting and every section.
fn line_numbers(text: &str) -> BTreeMap<String, usize> {
    fn note(found: &mut BTreeMap<String, usize>, text: &str, path: String, at: usize, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => {
                for (key, value) in table {
                    let path = format!("{path}.{}", key.get_ref());
                    note(found, text, path, key.span().start, value.get_ref());
                }
            }
            DeValue::Array(array) => {
                for (number, value) in (1..).zip(array.iter()) {
                    note(found, text, format!("{path}.{number}"), value.span().start, value.get_ref());
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
        found.insert(path, line_at(text.as_bytes(), at));
    }
    let mut found = BTreeMap::new();
    if let Ok(table) = DeTable::parse(text) {
        for (key, value) in table.get_ref() {
            note(&mut found, text, key.get_ref().to_string(), key.span().start, value.get_ref());
        }
    }
    found
}

/// Returns the line, from 1, of the byte at `at`.
fn line_at(text: &[u8], at: usize) -> usize {
    1 + text[..at].iter().filter(|&&c| c == b'\n').count()
}

/// Combines equal remarks into one sentence.
fn group_remarks(remarks: impl IntoIterator<Item = SyntaxRemark>) -> Vec<SyntaxRemark> {
    let mut groups: Vec<(SyntaxRemark, Vec<usize>)> = Vec::new();
    for remark in remarks {
        match groups.iter_mut().find(|(first, _)| first.text == remark.text) {
            Some((_, others)) => others.extend(remark.line),
            None => groups.push((remark, Vec::new())),
        }
    }
    groups
        .into_iter()
        .map(|(mut remark, others)| {
            if !others.is_empty() {
                let shown: Vec<String> = others.iter().take(5).map(usize::to_string).collect();
                let more = if others.len() > 5 { " and more" } else { "" };
                remark.text = format!("{} (also in line {}{more})", remark.text, shown.join(", "));
            }
            remark
        })
        .collect()
}

/// Decodes UTF-8, UTF-16 as old Windows editors write it, or Windows-1252.
fn decode(bytes: &[u8]) -> Result<(String, Vec<SyntaxRemark>), String> {
    let wide = |unit: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units)
            .collect::<Result<String, _>>()
            .map_err(|_| suggest::NO_TEXT.to_owned())
    };
    let plain = |text: String| (with_line_feeds(text), Vec::new());
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(u16::from_le_bytes, rest).map(plain),
        [0xfe, 0xff, rest @ ..] => wide(u16::from_be_bytes, rest).map(plain),
        // UTF-16 without a BOM: every other byte of plain text is zero.
        [first, 0, second, 0, ..] if *first != 0 && *second != 0 => wide(u16::from_le_bytes, bytes).map(plain),
        _ => {
            let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            let Err(error) = std::str::from_utf8(rest) else {
                return Ok(plain(String::from_utf8_lossy(rest).into_owned()));
            };
            if rest.iter().any(|c| c.is_ascii_control() && !c.is_ascii_whitespace()) {
                return Err(
                    suggest::for_file(&String::from_utf8_lossy(rest)).unwrap_or_else(|| suggest::NO_TEXT.to_owned())
                );
            }
            let text = with_line_feeds(rest.iter().map(|&c| decode_windows_1252(c)).collect());
            let remark = SyntaxRemark {
                line: Some(line_at(rest, error.valid_up_to())),
                text: "the file was not saved as UTF-8; check its special characters, and save it as UTF-8".to_owned(),
            };
            Ok((text, vec![remark]))
        }
    }
}

/// Converts the line ends of old Macs, a carriage return alone.
fn with_line_feeds(text: String) -> String {
    if text.contains('\n') {
        text
    } else {
        text.replace('\r', "\n")
    }
}

/// Decodes one byte of Windows-1252.
fn decode_windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

fn replace_typographic_quotes(text: &str) -> String {
    // The spaces inside French quotes belong to the quotes.
    let mut text = text.to_owned();
    for space in [' ', '\u{a0}', '\u{202f}'] {
        text = text
            .replace(&format!("\u{ab}{space}"), "\u{ab}")
            .replace(&format!("{space}\u{bb}"), "\u{bb}");
    }
    text.chars()
        .map(|c| match c {
            '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2033}' => '"',
            '\u{2018}'..='\u{201b}' | '\u{2039}' | '\u{203a}' | '`' | '\u{b4}' => '\'',
            '\u{a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' => ' ',
            plain => plain,
        })
        .filter(|&c| !matches!(c, '\u{200b}' | '\u{feff}'))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

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
            (plain.replace('\n', "\r").into_bytes(), 0),
        ] {
            let (found, warned) = url(&file);
            assert_eq!(found, "mqtt://a", "{file:?}");
            assert_eq!(warned, warnings, "{file:?}");
        }
    }

    #[test]
    fn a_curly_quote_inside_a_good_file_stays() {
        assert_eq!(url("[cloud]\nurl = \"a\u{201d}b\"".as_bytes()).0, "a\u{201d}b");
    }

    #[test]
    fn a_mistake_names_its_line_hides_what_it_says_and_costs_no_other_line() {
        for (file, line) in [
            (&b"a = 1\nb = 2\npassword = hunter2 x\nc = 3\n"[..], 3),
            (b"a = 1\npassword = hunter2\xff\nc = 3", 2),
            (b"a = 1\na = 2\nc = 3", 2),
            (b"a = 1\nb = \"\"\"hunter2\nc = 3", 2),
        ] {
            let parsed = parse(file).unwrap();
            let [mistake] = &parsed.mistakes[..] else {
                panic!("{:?}", parsed.mistakes);
            };
            assert_eq!(mistake.line, Some(line), "{mistake:?}");
            assert!(!mistake.text.contains("hunter2"), "{mistake:?}");
            assert_eq!(parsed.table["a"].as_integer(), Some(1));
            assert_eq!(parsed.table["c"].as_integer(), Some(3));
        }
    }

    #[test]
    fn the_same_mistake_in_many_lines_is_one_sentence() {
        let parsed = parse(b"a: 1\nb: 2\nc: 3\nd: 4\n").unwrap();
        let [mistake] = &parsed.mistakes[..] else {
            panic!("{:?}", parsed.mistakes);
        };
        assert_eq!(mistake.line, Some(1));
        assert!(mistake.text.ends_with("(also in line 2, 3, 4)"), "{mistake:?}");
        // A file with too many mistakes is rejected as a whole.
        assert!(parse("all of it\n".repeat(1000).as_bytes()).is_err());
    }

    #[test]
    fn every_setting_is_found_in_its_line() {
        let parsed = parse(b"a = 1\n\n[[wifi]]\nname = \"x\"\n[[wifi]]\nname = \"y\"\n[cloud]\nurl = \"z\"\n").unwrap();
        for (key, line) in [
            ("a", Some(1)),
            ("wifi.1.name", Some(4)),
            ("wifi.2.name", Some(6)),
            ("wifi.2.password", Some(5)),
            ("cloud", Some(7)),
            ("cloud.url", Some(8)),
            ("button.pin", None),
        ] {
            assert_eq!(parsed.line_of(key), line, "{key}");
        }
    }

    #[test]
    fn a_hidden_txt_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("camera.toml");
        assert!(read(&path).is_err());
        fs::write(folder.path().join("camera.toml.txt"), "capture_interval_s = 5").unwrap();
        let (bytes, warning) = read(&path).unwrap();
        assert_eq!(bytes, b"capture_interval_s = 5");
        assert!(warning.unwrap().contains("remove the .txt"));
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
