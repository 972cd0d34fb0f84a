//! A Markdown table.

use std::fmt;

#[derive(Debug)]
pub(crate) struct Table {
    lines: Vec<Vec<String>>,
    note: String,
}

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self {
            lines: vec![columns.iter().map(|&column| column.to_owned()).collect()],
            note: String::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.lines.push(cells.into());
    }

    /// What is said under the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.note = note.into();
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, cells) in self.lines.iter().enumerate() {
            writeln!(f, "| {} |", cells.join(" | "))?;
            if index == 0 {
                writeln!(f, "|{}", "--:|".repeat(cells.len()))?;
            }
        }
        if !self.note.is_empty() {
            writeln!(f, "\n{}", self.note)?;
        }
        Ok(())
    }
}
