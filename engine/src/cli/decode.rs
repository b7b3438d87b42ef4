//! `ticklake decode`: what a message becomes, under the configuration, or under one that is guessed.
//!
//! This file owns the command and its output. It does *not* own decoding or guessing ([`ticklake_core::decode`]).

use std::fs;
use std::io::{self, Read as _, Write};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use ticklake_core::decode::{DecodeConfig, Decoder, Guess, Message, Reject, guess};
use ticklake_core::tick::{Dictionaries, TickBatch};

use super::{ConfigArgs, variables};
use crate::clock::now_us;
use crate::config::print::section;

pub(super) const DECODE_ABOUT: &str = "\
Prints what a message becomes: its ticks, what is rejected and why, and the events that are left out.

The file holds the body of one message, as it comes out of the queue. [decode] of the configuration says how to read it. Without any \
key of [decode], the command guesses: it prints the TOML to use, with the ticks as remarks.";

pub(super) const DECODE_EXAMPLES: &str = "\
Examples:
  ticklake decode message.json                          # guesses, if nothing of [decode] is configured
  ticklake decode - < message.json > ticklake.toml
  ticklake decode message.json --set decode.preset=binance
  aws sqs receive-message --queue-url URL --query 'Messages[0].Body' --output text | ticklake decode -";

/// `ticklake decode`.
#[derive(Debug, Args)]
pub struct DecodeArgs {
    /// The file with the body of a message; - reads stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The content encoding of the body, as the message attribute content-encoding has it
    #[arg(long, value_name = "NAME")]
    pub content_encoding: Option<String>,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Prints what the message becomes; `true` if nothing of it is rejected.
pub fn run(args: &DecodeArgs) -> anyhow::Result<bool> {
    let loaded = args.config.load(variables())?;
    let body = read(args)?;
    let message = Message {
        id: "message",
        body: &body,
        content_encoding: args.content_encoding.as_deref(),
        sent_at_us: None,
        received_at_us: now_us(),
    };
    let mut out = io::stdout().lock();
    let printed = if loaded.origins.has("decode") {
        let config = loaded.settings.decode;
        config.validate().context("[decode] is wrong")?;
        let outcome = Outcome::of(&config, &message);
        outcome.print(&mut out, "").map(|()| outcome.rejects.is_empty())
    } else {
        match guess(&message) {
            Some(guess) => print_guess(&mut out, &guess, &message).map(|()| true),
            None => bail!(
                "no mapping fits this message: no object in it has a symbol and a price under a name that feeds use; write \
                 [decode] by hand, and run this command again to see what is wrong"
            ),
        }
    };
    printed.context("failed to print what the message becomes")
}

fn read(args: &DecodeArgs) -> anyhow::Result<Vec<u8>> {
    if args.file.as_os_str() == "-" {
        let mut body = Vec::new();
        io::stdin().read_to_end(&mut body).context("failed to read stdin")?;
        return Ok(body);
    }
    fs::read(&args.file).with_context(|| format!("failed to read {}", args.file.display()))
}

fn print_guess(out: &mut impl Write, guess: &Guess, message: &Message<'_>) -> io::Result<()> {
    match guess.preset {
        Some(preset) => writeln!(out, "# The preset `{preset}` fits.")?,
        None => writeln!(out, "# No preset fits. This mapping follows the names of the fields.")?,
    }
    for doubt in &guess.doubts {
        writeln!(out, "# To check: {doubt}.")?;
    }
    let mut settings = Map::new();
    if let Some(preset) = guess.preset {
        settings.insert("preset".to_owned(), preset.into());
    }
    settings.extend(guess.settings.clone());
    write!(out, "\n{}\n", section("decode", &settings))?;
    Outcome::of(&guess.config, message).print(out, "# ")
}

/// What a message becomes.
struct Outcome {
    names: Dictionaries,
    ticks: TickBatch,
    rejects: Vec<Reject>,
    left_out: Vec<(String, String, u64)>,
    unreadable: Vec<(&'static str, u64)>,
}

impl Outcome {
    fn of(config: &DecodeConfig, message: &Message<'_>) -> Self {
        let names = Dictionaries::new(config.names_max);
        let (mut ticks, mut rejects, mut left_out) = (TickBatch::default(), Vec::new(), Vec::new());
        let mut decoder = Decoder::new(config, &names);
        decoder.decode(message, &mut ticks, &mut rejects);
        decoder.take_left_out(|field, value, count| left_out.push((field.to_owned(), value.to_owned(), count)));
        let unreadable = decoder.take_unreadable().by_column().filter(|(_, count)| *count > 0).collect();
        Self { names, ticks, rejects, left_out, unreadable }
    }

    /// One line for each tick and each reject, and the counts. Each line begins with `mark`.
    fn print(&self, out: &mut impl Write, mark: &str) -> io::Result<()> {
        for row in 0..self.ticks.len() {
            writeln!(out, "{mark}tick      {}", self.tick(row))?;
        }
        for reject in &self.rejects {
            let place = reject.index.map_or("the body".to_owned(), |index| format!("no. {index}"));
            writeln!(out, "{mark}rejected  {place}, {}: {}", reject.reason, reject.detail)?;
        }
        for (field, value, count) in &self.left_out {
            writeln!(out, "{mark}left out  {count} with {field} = {value:?}")?;
        }
        for (field, count) in &self.unreadable {
            writeln!(out, "{mark}null      {count} of {field}, which cannot be read")?;
        }
        let left_out: u64 = self.left_out.iter().map(|(.., count)| count).sum();
        let (ticks, rejects) = (self.ticks.len(), self.rejects.len());
        writeln!(out, "{mark}{ticks} ticks, {rejects} rejected, {left_out} left out")?;
        out.flush()
    }

    fn tick(&self, row: usize) -> Value {
        let Self { names, ticks, .. } = self;
        let ts = Timestamp::from_microsecond(ticks.ts_us[row]).map_or_else(|_| String::new(), |ts| ts.to_string());
        let mut tick = json!({
            "symbol": names.symbols.get(ticks.symbol[row]).as_deref(),
            "ts": ts,
            "price": ticks.price[row],
            "volume": ticks.volume[row],
        });
        let optional = [
            ("seq", ticks.seq[row].map(Value::from)),
            ("venue", names.venues.get(ticks.venue[row]).map(|name| Value::from(&*name))),
            ("conditions", names.conditions.get(ticks.conditions[row]).map(|name| Value::from(&*name))),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                tick[key] = value;
            }
        }
        tick
    }
}
