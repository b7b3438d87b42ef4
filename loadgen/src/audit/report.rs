//! What an audit found.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::EXAMPLES_MAX;

/// What is wrong with one symbol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Problem {
    /// Ticks that no row holds.
    pub lost: u64,
    /// The smallest sequence number of them.
    pub first_lost: Option<i64>,
    /// Rows beyond the first of their tick.
    pub duplicate: u64,
    /// Every tick has its row, but the rows do not say what was sent: the checksum differs. Where ticks are lost the
    /// checksum says nothing.
    pub is_altered: bool,
}

/// A tick with several rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The symbol.
    pub symbol: String,
    /// The sequence number.
    pub seq: i64,
    /// The file of each row.
    pub files: Vec<PathBuf>,
}

/// The result of an audit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Files of the ticks table.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
    /// Ticks that were sent and that no row holds.
    pub lost: u64,
    /// Rows beyond the first of their tick.
    pub duplicate: u64,
    /// Symbols whose ticks are all there, but not as they were sent.
    pub altered: u64,
    /// Rows of no tick that was sent.
    pub unknown: u64,
    /// Malformed ticks that were sent.
    pub malformed: u64,
    /// Rows of the quarantine table.
    pub quarantined: u64,
    /// The symbols with lost, duplicate or altered ticks.
    pub problems: BTreeMap<String, Problem>,
    /// The first duplicates, at most [`EXAMPLES_MAX`], with their files.
    pub duplicates: Vec<Duplicate>,
    /// The first unknown rows, at most [`EXAMPLES_MAX`]: symbol, sequence number and file.
    pub unknown_examples: Vec<(String, Option<i64>, PathBuf)>,
}

impl Report {
    /// Whether the lake holds exactly what was sent. What is in quarantine counts where something malformed was sent.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let all_quarantined = self.malformed == 0 || self.malformed == self.quarantined;
        self.lost == 0 && self.duplicate == 0 && self.altered == 0 && self.unknown == 0 && all_quarantined
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_row = self.bytes as f64 / self.rows.max(1) as f64;
        writeln!(f, "rows       {} in {} files, {} bytes, {per_row:.2} per row", self.rows, self.files, self.bytes)?;
        writeln!(f, "lost       {}", self.lost)?;
        writeln!(f, "duplicate  {}", self.duplicate)?;
        writeln!(f, "altered    {} symbols", self.altered)?;
        write!(f, "unknown    {}", self.unknown)?;
        if self.malformed > 0 {
            write!(f, "\nmalformed  {} sent, {} in quarantine", self.malformed, self.quarantined)?;
        }
        if !self.problems.is_empty() {
            write!(f, "\n\n{:<16} {:>12} {:>12} {:>12}  altered", "symbol", "lost", "first lost", "duplicate")?;
        }
        for (symbol, problem) in self.problems.iter().take(EXAMPLES_MAX) {
            let first = problem.first_lost.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
            let altered = if problem.is_altered { "yes" } else { "-" };
            write!(f, "\n{symbol:<16} {:>12} {first:>12} {:>12}  {altered}", problem.lost, problem.duplicate)?;
        }
        if self.problems.len() > EXAMPLES_MAX {
            write!(f, "\nand {} more symbols", self.problems.len() - EXAMPLES_MAX)?;
        }
        for duplicate in &self.duplicates {
            write!(f, "\n\n{} seq {} is in", duplicate.symbol, duplicate.seq)?;
            for file in &duplicate.files {
                write!(f, "\n  {}", file.display())?;
            }
        }
        for (symbol, seq, file) in &self.unknown_examples {
            let seq = seq.map_or_else(|| "without seq".to_owned(), |seq| format!("seq {seq}"));
            write!(f, "\n\nnever sent: {symbol} {seq} in\n  {}", file.display())?;
        }
        Ok(())
    }
}
