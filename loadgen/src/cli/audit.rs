//! `loadgen audit`: what became of the ticks.

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use loadgen::{Sent, audit};

use super::fetch;

/// Check that a lake holds exactly what was sent: every tick, once, unaltered.
///
/// Reads the Parquet files below LAKE/ticks, tells every row by symbol and seq, and compares a checksum of each
/// symbol's rows with that of the ticks sent. What was sent malformed is looked for in LAKE/quarantine. Exits with
/// status 1 where anything is lost, duplicate, altered or was never sent.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:

  After `loadgen send --sent sent.json` and a run of the consumer:
    loadgen audit --lake ./lake --sent sent.json

  In S3:
    loadgen audit --lake s3://market-lake/eu --sent sent.json

  Two recordings in the same lake:
    loadgen audit --lake ./lake --sent monday.json --sent tuesday.json")]
pub(super) struct AuditArgs {
    /// The folder of the lake, the one that holds `ticks`; or `s3://BUCKET/PREFIX`, which is copied to this machine for
    /// the audit, with the credentials and the endpoint of every AWS tool.
    #[arg(long, value_name = "FOLDER")]
    lake: PathBuf,

    /// What was sent, as `send` and `replay` write it. Several are added up.
    #[arg(long, value_name = "FILE", required = true)]
    sent: Vec<PathBuf>,
}

impl AuditArgs {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut sent = Sent::nothing();
        for path in &self.sent {
            sent.merge(read_manifest(path)?).with_context(|| format!("cannot add {}", path.display()))?;
        }
        let copy = match self.lake.to_str().and_then(|lake| lake.strip_prefix("s3://")) {
            Some(place) => Some(fetch::copy(place).await?),
            None => None,
        };
        let report = audit(copy.as_ref().map_or(&*self.lake, |copy| copy.path()), &sent)?;
        writeln!(io::stdout(), "sent       {} ticks of {} symbols\n{report}", sent.ticks, sent.symbols.len())?;
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn read_manifest(path: &Path) -> anyhow::Result<Sent> {
    let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
    serde_json::from_reader(BufReader::new(file)).with_context(|| format!("failed to read {}", path.display()))
}
