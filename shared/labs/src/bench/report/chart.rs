//! Bar charts as SVG that follows the reader's choice of light or dark.

use std::fmt::Write;

use crate::bench::figures::{Bound, Figure, as_float};

const WIDTH: f64 = 720.0;
const NAMES_WIDTH: f64 = 270.0;
const VALUES_WIDTH: f64 = 150.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;
const TOP: f64 = 34.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.b{fill:#4878a8}\
                     .w{stroke:#1f2328;stroke-width:1.2}.l{stroke:#b35900;stroke-width:1.5;stroke-dasharray:4 3}\
                     @media(prefers-color-scheme:dark){text{fill:#e6edf3}.b{fill:#6f9fd0}.w{stroke:#e6edf3}\
                     .l{stroke:#ffa657}}";

/// Draws the figures of one group: a bar up to each median, a line from the least to the greatest value, and a dashed
/// line at a bound.
pub(super) fn bars(title: &str, figures: &[&Figure]) -> String {
    let height = TOP + ROW * as_float(figures.len()) + 6.0;
    let largest = figures
        .iter()
        .map(|figure| figure.max())
        .chain(figures.iter().filter_map(|figure| limit(figure)));
    let largest = largest.fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| NAMES_WIDTH + value / largest * (WIDTH - NAMES_WIDTH - VALUES_WIDTH);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <style>{STYLE}</style>\n<text class=\"t\" x=\"0\" y=\"16\">{}</text>\n",
        escape(title)
    );
    for (row, figure) in figures.iter().enumerate() {
        let top = TOP + ROW * as_float(row);
        let (middle, end) = (top + BAR / 2.0, x(figure.median()));
        let value = escape(&format!("{} {}", rounded(figure.median()), figure.unit));
        let _ = write!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect class=\"b\" x=\"{NAMES_WIDTH}\" y=\"{top}\" width=\"{:.1}\" height=\"{BAR}\"/>\
             <line class=\"w\" x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\"/>",
            NAMES_WIDTH - 8.0,
            middle + 4.5,
            escape(&figure.name),
            (end - NAMES_WIDTH).max(0.5),
            x(figure.min()),
            x(figure.max()),
        );
        if let Some(limit) = limit(figure) {
            let (at, bottom) = (x(limit), top + BAR + 4.0);
            let _ = write!(
                svg,
                "<line class=\"l\" x1=\"{at:.1}\" y1=\"{}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>",
                top - 4.0
            );
        }
        let after = x(figure.max().max(figure.median())) + 8.0;
        let _ = writeln!(svg, "<text x=\"{after:.1}\" y=\"{:.0}\">{value}</text>", middle + 4.5);
    }
    svg + "</svg>\n"
}

fn limit(figure: &Figure) -> Option<f64> {
    figure.bound.map(Bound::value)
}

/// Returns a number with three significant digits, and thousands in groups.
pub(super) fn rounded(value: f64) -> String {
    let text = match value.abs() {
        0.0 => return "0".to_owned(),
        small if small < 1.0 => return format!("{value:.2}"),
        small if small < 10.0 => return format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    let mut grouped = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_as_people_read_them() {
        for (value, text) in [
            (0.0, "0"),
            (0.456, "0.46"),
            (3.14, "3.1"),
            (999.6, "1,000"),
            (45.2, "45"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(rounded(value), text);
        }
    }

    #[test]
    fn bars_are_proportional_to_the_medians() {
        let figure = |name: &str, values: &[f64]| Figure {
            group: String::new(),
            name: name.to_owned(),
            unit: "pictures/s".to_owned(),
            values: values.to_vec(),
            bound: Some(Bound::AtLeast(50.0)),
        };
        let svg = bars("A & B", &[&figure("one", &[100.0]), &figure("half", &[40.0, 50.0, 60.0])]);
        assert!(
            svg.contains("A &amp; B") && svg.contains("width=\"300.0\"") && svg.contains("width=\"150.0\""),
            "{svg}"
        );
        assert_eq!(svg.matches("class=\"l\"").count(), 2);
    }
}
