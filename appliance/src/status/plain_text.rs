//! A text file of bounded size that any computer can show: its lines end as on Windows, where the first partition of a
//! card is most often opened.

/// The text of the file.
pub(crate) struct PlainText {
    text: String,
    bytes_max: usize,
}

impl PlainText {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { text: String::new(), bytes_max }
    }

    /// Adds a line and returns true, if there is room for it. Line breaks and other control characters become spaces.
    pub(crate) fn push(&mut self, line: &str) -> bool {
        let fits = self.fits(&[line]);
        if fits {
            self.text.extend(line.chars().map(|c| if c.is_control() { ' ' } else { c }));
            self.text.push_str("\r\n");
        }
        fits
    }

    /// Returns true if there is room for all these lines.
    pub(crate) fn fits<S: AsRef<str>>(&self, lines: &[S]) -> bool {
        let bytes: usize = lines.iter().map(|line| line.as_ref().len() + 2).sum();
        self.text.len() + bytes <= self.bytes_max
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }

    /// Adds a line of spaces, so that the file has exactly `bytes`: at least two more than its lines may have.
    pub(crate) fn finish_padded(self, bytes: usize) -> String {
        let width = (bytes - 2).saturating_sub(self.text.len());
        format!("{}{:width$}\r\n", self.text, "")
    }
}
