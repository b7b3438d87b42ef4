//! A measured figure beside its bound. It does *not* own any measuring.

use std::{borrow::Cow, fmt};

/// A figure beside its bound.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What was measured, with its unit.
    pub name: Cow<'static, str>,
    /// What was found.
    pub measured: f64,
    /// The largest value that passes.
    pub at_most: f64,
}

impl Figure {
    /// Whether the figure is within its bound.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.measured <= self.at_most
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "ok  " } else { "FAIL" };
        // Three significant digits read the same for a share as for a count of bytes.
        let digits = if self.measured.abs() < 10.0 { 3 } else { 1 };
        write!(f, "{verdict} {}: {:.digits$} (at most {})", self.name, self.measured, self.at_most)
    }
}
