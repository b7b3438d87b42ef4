//! The command line: its commands and flags, and their help texts.
//!
//! This file owns commands and flags. A flag for a config key only names the key, and [`crate::config`] decides what it
//! means. This file does *not* own what the commands do.

pub mod decode;
pub mod detect;
#[cfg(feature = "local")]
mod local;
pub mod logging;
pub mod manual;
pub mod run;
pub mod signals;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::sources::{self, Assignment, Loaded, SourceError};

#[cfg(feature = "local")]
pub use local::DemoArgs;

/// The process did not end well: an error while running, or a check that failed.
pub const EXIT_FAILED: u8 = 1;
/// The command line or the configuration is wrong; nothing was started.
pub const EXIT_USAGE: u8 = 2;
/// A drained queue held messages or ticks that were rejected, or so many that receiving was halted.
pub const EXIT_REJECTED: u8 = 3;
/// A second SIGINT or SIGTERM ended the process without waiting for the drain.
pub const EXIT_INTERRUPTED: u8 = 130;

const EXIT_CODES: &str = "\
Exit codes:
  0    done: the queue is drained, the signal was obeyed, or everything that was checked is fine
  1    failed: the message on stderr says why
  2    the command line or the configuration is wrong; nothing was started
  3    `run --drain` is done, and rejected some ticks: they are in the table `quarantine`
  130  a second SIGINT or SIGTERM ended the process at once; what was not committed is delivered again later";

const ABOUT: &str = "\
Drains market ticks from Amazon SQS, watches every symbol for anomalies while the ticks pass, and leaves them in S3 as \
partitioned Parquet that Athena scans for cents.";

/// `ticklake`, as typed.
#[derive(Debug, Parser)]
#[command(name = "ticklake", version, about = ABOUT, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Drain the queue into the lake
    #[command(long_about = RUN_ABOUT, after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Check the configuration, the queue, the bucket and the topic
    #[command(long_about = CHECK_ABOUT, after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Print what a message becomes, or guess how to read it
    #[command(long_about = decode::DECODE_ABOUT, after_help = decode::DECODE_EXAMPLES)]
    Decode(decode::DecodeArgs),
    /// Run the detectors over a file
    #[command(long_about = detect::DETECT_ABOUT, after_help = detect::DETECT_EXAMPLES)]
    Detect(detect::DetectArgs),
    /// Show the whole path at work on this machine, without AWS
    #[cfg(feature = "local")]
    #[command(long_about = local::DEMO_ABOUT, after_help = local::DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Serve SQS, S3 and SNS on loopback
    #[cfg(feature = "local")]
    #[command(long_about = localaws::cli::ABOUT, after_help = format!("{}\n\n{}", local::LOCAL_AWS_EXAMPLES, localaws::cli::FAULTS))]
    LocalAws(localaws::cli::ServeArgs),
    /// Print a script that completes commands and flags in a shell
    #[command(after_help = manual::COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write the pages of all commands
    #[command(after_help = manual::MAN_EXAMPLES)]
    Man {
        /// Where the pages of all commands go; without this flag the page of `ticklake` is printed
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

const RUN_ABOUT: &str = "\
Drains the queue into the lake until SIGTERM or SIGINT.

The engine receives messages with parallel long polls. It decodes them, shows their ticks to the detectors, and gathers them into \
epochs. An epoch is committed in this order: its Parquet files are stored, its alerts are published, and only then are its messages \
deleted. The first signal stops receiving, and commits what is there within `shutdown.deadline`. A second one ends the process at \
once. Either way nothing is lost: the queue delivers again what was not committed.

Credentials come from where every AWS tool takes them: environment, profile, web identity, container, instance.";

const RUN_EXAMPLES: &str = "\
Examples:
  ticklake run --queue-url https://sqs.eu-west-1.amazonaws.com/123456789012/ticks --bucket market-lake
  ticklake run --config production.toml
  ticklake run --drain                     # end when the queue is empty
  TICKLAKE_EPOCH__AGE_MAX=2m ticklake run  # any key can come from the environment

The role needs sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes on the queue; \
s3:PutObject, s3:GetObject and s3:DeleteObject below the prefix; s3:ListBucket on the bucket; and sns:Publish on the topic. \
`ticklake check` names each one that is missing, except those that it cannot try without using them.";

const CHECK_ABOUT: &str = "\
Checks the configuration, then that the queue, the bucket and the topic exist and may be used.

Each line of the report begins with ok, note, warn or FAIL. For a missing permission it names the IAM action to allow. The check \
receives no message and publishes nothing. It stores four objects, PREFIX/.ticklake-check-ID-*, and removes them again.";

const CHECK_EXAMPLES: &str = "\
Examples:
  ticklake check                         # with ./ticklake.toml, if there is one
  ticklake check --print                 # the effective configuration, every default included; asks AWS nothing
  ticklake check --print > example.toml  # a file to start from
  ticklake check --symbol BTCUSDT        # what the detectors look for in a symbol";

/// `ticklake run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// End when the queue is empty and everything received is committed, for backfills and tests
    #[arg(long)]
    pub drain: bool,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `ticklake check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Print the effective configuration as TOML, with a remark where a value is not the default, and note what is
    /// wrong with it
    #[arg(long)]
    pub print: bool,
    /// Print what the detectors look for in this symbol, after all overrides; asks AWS nothing
    #[arg(long, value_name = "SYMBOL", conflicts_with = "print")]
    pub symbol: Option<String>,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// The flags that set configuration. A flag wins over the environment, and the environment wins over the file.
#[derive(Debug, Default, Args)]
#[expect(clippy::doc_markdown, reason = "clap shows these comments as they are, where backticks are noise")]
#[command(next_help_heading = "Configuration (a flag wins over the environment, the environment wins over the file)")]
pub struct ConfigArgs {
    /// The TOML file; without this flag ./ticklake.toml is read if it exists
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The queue to drain [key: queue.url] [env: TICKLAKE_QUEUE__URL]
    #[arg(long, value_name = "URL")]
    pub queue_url: Option<String>,
    /// The bucket of the lake [key: lake.bucket] [env: TICKLAKE_LAKE__BUCKET]
    #[arg(long, value_name = "NAME")]
    pub bucket: Option<String>,
    /// The folder of the lake in the bucket [key: lake.prefix] [env: TICKLAKE_LAKE__PREFIX]
    #[arg(long, value_name = "FOLDER")]
    pub prefix: Option<String>,
    /// The topic that alerts are published to [key: alerts.topic_arn] [env: TICKLAKE_ALERTS__TOPIC_ARN]
    #[arg(long, value_name = "ARN")]
    pub topic_arn: Option<String>,
    /// An endpoint for all three services, in place of AWS [key: aws.endpoint_url] [env: TICKLAKE_AWS__ENDPOINT_URL,
    /// AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// The AWS region [key: aws.region] [env: TICKLAKE_AWS__REGION, AWS_REGION]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// Set any key, as in --set epoch.rows_max=100000 or --set epoch.age_max=10s; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    pub set: Vec<Assignment>,
}

impl ConfigArgs {
    /// Reads the file, puts `environment` over it, and these flags over both.
    pub fn load(&self, environment: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, SourceError> {
        let mut assignments = sources::environment(environment);
        assignments.extend_from_slice(&self.set);
        assignments.extend(self.named());
        sources::load(self.config.as_deref(), &assignments)
    }

    /// The flags that have a name of their own. They win over `--set`.
    fn named(&self) -> impl Iterator<Item = Assignment> {
        let flags = [
            ("queue.url", "--queue-url", &self.queue_url),
            ("lake.bucket", "--bucket", &self.bucket),
            ("lake.prefix", "--prefix", &self.prefix),
            ("alerts.topic_arn", "--topic-arn", &self.topic_arn),
            ("aws.endpoint_url", "--endpoint-url", &self.endpoint_url),
            ("aws.region", "--region", &self.region),
        ];
        flags.into_iter().filter_map(|(key, flag, value)| {
            let value = value.clone()?;
            Some(Assignment { key: key.to_owned(), value, origin: format!("flag {flag}") })
        })
    }
}

fn parse_set(text: &str) -> Result<Assignment, String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, as in epoch.rows_max=100000")?;
    let key = key.trim();
    if key.split('.').any(str::is_empty) {
        return Err(format!("`{key}` is not a key such as epoch.rows_max"));
    }
    Ok(Assignment { key: key.to_owned(), value: value.to_owned(), origin: format!("flag --set {key}") })
}

/// The variables of the environment that are Unicode text. Others cannot be ours.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Loads the configuration from its sources, and installs the log that it describes.
pub fn configure(args: &ConfigArgs) -> anyhow::Result<crate::config::Config> {
    let config = args.load(variables())?.settings.validate()?;
    logging::install(&config.log);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_name_their_real_environment_variables() {
        let help = |name: &str| {
            let mut command = Cli::command();
            command.find_subcommand_mut(name).unwrap().render_long_help().to_string()
        };
        let help = help("run");
        for assignment in filled().named() {
            assert!(help.contains(&format!("[key: {}]", assignment.key)), "{}", assignment.key);
            assert!(help.contains(&sources::variable(&assignment.key)), "{}", assignment.key);
        }
    }

    #[test]
    fn every_named_flag_sets_its_key() {
        let loaded = filled().load(Vec::new()).unwrap();
        let settings = loaded.settings;
        assert_eq!(settings.queue.url, "a");
        assert_eq!((settings.lake.bucket.as_str(), settings.lake.prefix.as_str()), ("b", "c"));
        assert_eq!(settings.alerts.topic_arn.as_deref(), Some("d"));
        assert_eq!((settings.aws.endpoint_url.as_deref(), settings.aws.region.as_deref()), (Some("e"), Some("f")));
        assert_eq!(loaded.origins.of("lake.prefix"), Some("flag --prefix"));
    }

    #[test]
    fn set_wants_a_key_and_a_value() {
        for text in ["epoch.rows_max", "=1", "epoch.=1"] {
            assert!(Cli::try_parse_from(["ticklake", "run", "--set", text]).is_err(), "{text}");
        }
        assert_eq!(parse_set("log.filter=warn,ticklake=debug").unwrap().value, "warn,ticklake=debug");
    }

    fn filled() -> ConfigArgs {
        let text = |text: &str| Some(text.to_owned());
        ConfigArgs {
            queue_url: text("a"),
            bucket: text("b"),
            prefix: text("c"),
            topic_arn: text("d"),
            endpoint_url: text("e"),
            region: text("f"),
            ..ConfigArgs::default()
        }
    }
}
