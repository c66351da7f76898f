//! Text with indentation.

use std::fmt::Write as _;

/// Collects lines of WGSL, indented by the blocks they stand in.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    text: String,
    depth: usize,
}

impl Writer {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one line.
    pub fn line(&mut self, line: impl std::fmt::Display) {
        let width = self.depth * 4;
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.text, "{:width$}{line}", "");
    }

    /// Appends an empty line.
    pub fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Appends `head {`, what `body` writes, and `}`; gives what `body` gives.
    pub fn block<R>(
        &mut self,
        head: impl std::fmt::Display,
        body: impl FnOnce(&mut Self) -> R,
    ) -> R {
        let head = head.to_string();
        let space = if head.is_empty() { "" } else { " " };
        self.line(format_args!("{head}{space}{{"));
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        self.line("}");
        result
    }

    /// Appends text that is WGSL by itself, line by line.
    pub fn text(&mut self, text: &str) {
        for line in text.lines() {
            self.line(line);
        }
    }

    /// The text so far.
    pub fn finish(self) -> String {
        self.text
    }
}
