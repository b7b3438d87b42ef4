//! Finds the SQL to run: a file, or one of the queries that come with this crate.
//!
//! It does *not* own what the queries may say: DataFusion and Athena do. A test checks that both understand them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The queries that come with this crate, by name, as they are in its folder `queries`.
pub const SHIPPED: [(&str, &str); 10] = [
    ("ohlcv_bars", include_str!("../queries/ohlcv_bars.sql")),
    ("vwap", include_str!("../queries/vwap.sql")),
    ("top_movers", include_str!("../queries/top_movers.sql")),
    ("volume_profile", include_str!("../queries/volume_profile.sql")),
    ("venue_spread", include_str!("../queries/venue_spread.sql")),
    ("feed_gaps", include_str!("../queries/feed_gaps.sql")),
    ("alerts_with_ticks", include_str!("../queries/alerts_with_ticks.sql")),
    ("quarantine_by_reason", include_str!("../queries/quarantine_by_reason.sql")),
    ("duplicates_by_seq", include_str!("../queries/duplicates_by_seq.sql")),
    ("latest_price", include_str!("../queries/latest_price.sql")),
];

/// Why a query cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The name is neither that of a file nor that of a shipped query.
    #[error("failed to find the query {query:?}: there is no such file, and the shipped queries are {}", names())]
    Unknown {
        /// The name that was asked for.
        query: String,
    },
    /// The file exists but cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// One statement and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The file or the shipped name, for headings and errors.
    pub name: String,
    /// The statement.
    pub sql: String,
}

impl Query {
    /// The query in the file `query`, or the shipped one of that name.
    pub fn load(query: &str) -> Result<Self, QueryError> {
        let path = Path::new(query);
        if path.is_file() {
            let sql = fs::read_to_string(path).map_err(|source| QueryError::Read { path: path.into(), source })?;
            return Ok(Self { name: query.to_owned(), sql });
        }
        let shipped = SHIPPED.iter().find(|(name, _)| *name == query);
        let (name, sql) = shipped.ok_or_else(|| QueryError::Unknown { query: query.to_owned() })?;
        Ok(Self { name: (*name).to_owned(), sql: (*sql).to_owned() })
    }

    /// A statement from the command line.
    #[must_use]
    pub fn inline(sql: String) -> Self {
        Self { name: sql.clone(), sql }
    }
}

/// The names of the shipped queries, for help and errors.
#[must_use]
pub fn names() -> String {
    SHIPPED.map(|(name, _)| name).join(", ")
}
