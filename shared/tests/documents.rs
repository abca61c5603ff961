//! The documents list the LED patterns and the faults as the tables of this crate do.

use std::fs;
use std::path::Path;

use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::light::Pattern;

fn document(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).unwrap()
}

/// Returns the cells of the rows of the table under `heading`, without its head.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let section = text.split_once(heading).expect("the heading exists").1;
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    rows.skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn the_hardware_guide_explains_every_fault() {
    let faults = FaultCode::ALL.map(|fault| {
        let texts = [fault.meaning(), fault.remedy()].map(str::to_owned);
        [vec![fault.number().to_string()], texts.to_vec()].concat()
    });
    assert_eq!(table(&document("docs/hardware.md"), "\n## Faults\n"), faults);
}

#[test]
fn the_readme_lists_the_patterns_and_faults() {
    let mut expected: Vec<Vec<String>> = [
        Pattern::Capturing,
        Pattern::Stored,
        Pattern::Saved,
        Pattern::Failed { fault: None },
        Pattern::Ready,
        Pattern::Uploading,
        Pattern::Offline,
        Pattern::Starting,
    ]
    .map(|pattern| vec![pattern.appearance().to_owned(), pattern.meaning().to_owned()])
    .to_vec();
    let titles = FaultCode::ALL.map(|fault| format!("{} {}", fault.number(), fault.title().to_lowercase()));
    expected.push(vec![
        "one long blink, *n* short, repeated".to_owned(),
        format!("[Fault *n*](docs/hardware.md#faults): {}.", titles.join(", ")),
    ]);
    assert_eq!(table(&document("README.md"), "\n## LED patterns\n"), expected);
}

#[test]
fn the_page_on_the_card_lists_patterns_as_they_are() {
    let text = document("image-build/card/boot/START-HERE.html");
    let rows: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("<tr><td>")?.strip_suffix("</td></tr>")?.split_once("</td><td>"))
        .collect();
    assert_eq!(rows.len(), 7, "{rows:?}");
    for (appearance, meaning) in rows {
        let pattern = Pattern::ALL.into_iter().find(|pattern| pattern.appearance() == appearance);
        let expected = match pattern {
            Some(Pattern::Fault(fault)) => format!("Fault {}: {}", fault.number(), fault.meaning()),
            Some(pattern) => pattern.meaning().to_owned(),
            None => panic!("no pattern looks like {appearance:?}"),
        };
        assert_eq!(meaning, expected);
    }
}
