//! Measured values, what they must reach, and their JSON.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use serde::{Deserialize, Serialize};

/// The value that the median of a figure must reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub fn value(self) -> f64 {
        match self {
            Self::AtLeast(value) | Self::AtMost(value) => value,
        }
    }
}

/// One measured quantity: a value for each repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The figures that one chart compares, such as `MariaDB, 150 KB`. They have the same unit.
    pub group: String,
    pub name: String,
    pub unit: String,
    pub values: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
}

impl Figure {
    /// Returns the median of the repetitions: of an even number, the lower of the middle two.
    pub fn median(&self) -> f64 {
        percentile(&self.values, 50.0)
    }

    pub fn min(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn max(&self) -> f64 {
        self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Returns whether the median reaches the bound, if there is one.
    pub fn is_met(&self) -> Option<bool> {
        self.bound.map(|bound| match bound {
            Bound::AtLeast(least) => self.median() >= least,
            Bound::AtMost(most) => self.median() <= most,
        })
    }
}

/// Returns the value below or at which `percent` of the values are; 0 of no values.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most the number of values"
    )]
    let index = (as_float(last) * percent / 100.0).floor() as usize;
    sorted.get(index).copied().unwrap_or(0.0)
}

/// Returns a count as a float; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are below 2^53")]
pub fn as_float(count: usize) -> f64 {
    count as f64
}

/// The figures of one step, in the order in which they were first recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    pub step: String,
    pub command: String,
    /// The processor, its cores, and the load before the step.
    pub machine: String,
    /// The versions of the servers.
    pub versions: Vec<String>,
    pub figures: Vec<Figure>,
}

impl StepResult {
    pub fn new(step: &str, command: &str) -> Self {
        Self {
            step: step.to_owned(),
            command: command.to_owned(),
            machine: super::usage::machine(),
            versions: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// Adds the value of one repetition.
    pub fn record(&mut self, group: &str, name: &str, unit: &str, value: f64) {
        println!("{group}: {name}: {value:.3} {unit}");
        match self.figures.iter_mut().find(|figure| figure.group == group && figure.name == name) {
            Some(figure) => figure.values.push(value),
            None => self.figures.push(Figure {
                group: group.to_owned(),
                name: name.to_owned(),
                unit: unit.to_owned(),
                values: vec![value],
                bound: None,
            }),
        }
    }

    /// Adds the value of one repetition that has a bound.
    pub fn record_bounded(&mut self, group: &str, name: &str, unit: &str, value: f64, bound: Bound) {
        self.record(group, name, unit, value);
        for figure in &mut self.figures {
            if figure.group == group && figure.name == name {
                figure.bound = Some(bound);
            }
        }
    }

    pub fn add_version(&mut self, version: String) {
        if !self.versions.contains(&version) {
            self.versions.push(version);
        }
    }

    /// Writes `folder/step.json`, and returns the file.
    pub fn save(&self, folder: &Path) -> Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let file = folder.join(format!("{}.json", self.step));
        fs::write(&file, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(file)
    }

    /// Reads every result in a folder, in the order of their names.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>> {
        let mut files: Vec<PathBuf> = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        files
            .iter()
            .map(|file| {
                let text = fs::read_to_string(file)?;
                serde_json::from_str(&text).with_context(|| format!("read {}", file.display()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_compared_with_the_median() {
        let mut result = StepResult::new("ingest", "cargo xtask bench");
        for value in [12.0, 9.0, 10.0, 1.0, 99.0] {
            result.record_bounded("MariaDB", "native : lab", "×", value, Bound::AtLeast(10.0));
        }
        let figure = &result.figures[0];
        assert_eq!((figure.median(), figure.min(), figure.max()), (10.0, 1.0, 99.0));
        assert_eq!(figure.is_met(), Some(true));
        result.record("MariaDB", "native : lab", "×", 2.0);
        assert_eq!((result.figures[0].median(), result.figures[0].is_met()), (9.0, Some(false)));
    }
}
