//! The command line of the runner. It does *not* own how queries are found, run and shown: the library does.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use athena::lake::Lake;
use athena::location::Location;
use athena::query::{self, Query};
use athena::report;
use clap::Parser;

/// Runs the lake's Athena queries locally, over the same files, and says how many bytes they read.
#[derive(Parser)]
#[command(version, after_help = format!("Shipped queries: {}", query::names()))]
struct Args {
    /// SQL files, or names of shipped queries
    #[arg(required_unless_present = "command")]
    query: Vec<String>,
    /// A statement to run after the files
    #[arg(short, long, value_name = "SQL")]
    command: Vec<String>,
    /// The folder that holds ticks/, alerts/ and quarantine/, or `s3://BUCKET/PREFIX` (credentials, region and
    /// `AWS_ENDPOINT_URL` from the environment)
    #[arg(long, value_name = "DIR|s3://BUCKET/PREFIX")]
    lake: String,
    /// How many rows of an answer to show
    #[arg(long, default_value_t = 40, value_name = "N")]
    rows: usize,
    /// What `current_date` answers, for a lake whose last day is long past
    #[arg(long, value_name = "YYYY-MM-DD")]
    today: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut queries = args.query.iter().map(|name| Query::load(name)).collect::<Result<Vec<_>, _>>()?;
    queries.extend(args.command.into_iter().map(Query::inline));
    let lake = Lake::open(&Location::parse(&args.lake)?)?;
    if let Some(date) = &args.today {
        lake.set_today(date)?;
    }
    for query in &queries {
        let answer = lake.run(&query.sql).await.with_context(|| query.name.clone())?;
        let newest = if answer.rows() == 0 { lake.newest_day().await? } else { None };
        let hint = newest
            .map(|day| format!("The newest ticks are of {day}: --today {day} asks for that day and the one before.\n"));
        let text = format!("{}\n{}{}", query.name, report::render(&answer, args.rows)?, hint.unwrap_or_default());
        match io::stdout().write_all(text.as_bytes()) {
            // The program that reads the output (head, less) wants no more.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            result => result?,
        }
    }
    Ok(())
}
