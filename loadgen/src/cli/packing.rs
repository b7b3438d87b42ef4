//! How ticks become messages, as a user says it: packing, and what happens to them on their way.
//!
//! It does *not* own either ([`loadgen::payload`], [`loadgen::disturb`]).

use clap::{Args, ValueEnum};
use loadgen::{Delays, Dialect, Disturbance, Layout, Packing, payload::MESSAGE_BYTES_MAX};

/// How ticks become messages.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct PackingArgs {
    /// Ticks per message. Fewer are packed where they would exceed the 1 MiB that SQS takes.
    #[arg(long, value_name = "TICKS", default_value_t = 100)]
    pack: usize,

    /// As many ticks per message as fit into this size, such as 256KiB or 1MiB; before compression.
    #[arg(long, value_name = "SIZE", conflicts_with = "pack", value_parser = size)]
    fill: Option<usize>,

    /// How the ticks of a message are arranged. By default an array, and a plain object where there is one tick.
    #[arg(long, value_enum)]
    form: Option<Form>,

    /// Field names and types of a tick.
    #[arg(long, value_enum, default_value_t = Fields::Canonical)]
    fields: Fields,

    /// Compress bodies with zstd at this level and send them as base64, with the attribute content-encoding = zstd.
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "3", value_parser = clap::value_parser!(i32).range(1..=19))]
    zstd: Option<i32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// One JSON object; needs `--pack 1`.
    Object,
    /// A JSON array.
    Array,
    /// One JSON object per line.
    Lines,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fields {
    /// symbol, price, volume, ts (microseconds), seq, venue, conditions.
    Canonical,
    /// e, s, p, q, T (milliseconds), t: like the trades of Binance, prices as strings.
    Binance,
}

/// About what a tick takes in JSON.
pub(super) const TICK_BYTES: u64 = 95;

impl PackingArgs {
    pub(super) fn packing(&self) -> anyhow::Result<Packing> {
        let layout = match self.form {
            Some(Form::Object) => Layout::Object,
            Some(Form::Lines) => Layout::Lines,
            None if self.pack == 1 && self.fill.is_none() => Layout::Object,
            Some(Form::Array) | None => Layout::Array,
        };
        let dialect = match self.fields {
            Fields::Canonical => Dialect::Canonical,
            Fields::Binance => Dialect::Binance,
        };
        let packing = match self.fill {
            Some(bytes) => Packing::filling(bytes, layout, dialect)?,
            None => Packing::new(self.pack, layout, dialect)?,
        };
        Ok(self.zstd.map_or(packing, |level| packing.compressed(level)))
    }

    /// About how many ticks there are in a message.
    pub(super) fn ticks_per_message(&self) -> u64 {
        let fit = self.fill.unwrap_or(MESSAGE_BYTES_MAX) as u64 / TICK_BYTES;
        if self.fill.is_some() { fit } else { fit.min(self.pack as u64) }.max(1)
    }
}

/// Reads a size in bytes, KiB or MiB.
fn size(text: &str) -> Result<usize, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20)];
    let (number, unit) =
        units.into_iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit))).unwrap_or((text, 1));
    let size = number.trim().parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    size.ok_or_else(|| "a size is a number of bytes, or one with the unit KiB or MiB".to_owned())
}

/// What happens to ticks on their way.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Disturbances")]
pub(super) struct DisturbArgs {
    /// Hold back a share of the ticks for any event time up to a duration: they arrive late. Up to 100,000 are held
    /// back at a time in each of the market's 16 lanes, or of a recording.
    #[arg(long, value_name = "SHARE/DURATION")]
    late: Option<Delays>,

    /// The same once more, for ticks that shortly overtake each other.
    #[arg(long, value_name = "SHARE/DURATION")]
    out_of_order: Option<Delays>,

    /// Send a share of the ticks twice, the second time within a second of event time. An audit expects both.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    duplicates: f64,

    /// Send malformed ticks of all kinds besides, as a share of the good ones. An audit looks for them in the
    /// quarantine table.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    malformed: f64,
}

impl DisturbArgs {
    pub(super) fn disturbance(&self, seed: u64) -> Disturbance {
        Disturbance {
            seed,
            late: self.late.unwrap_or_default(),
            out_of_order: self.out_of_order.unwrap_or_default(),
            duplicates: self.duplicates,
            malformed: self.malformed,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share is a number from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_their_units() {
        assert_eq!(["1024", "256KiB", "1 MiB"].map(|text| size(text).unwrap()), [1_024, 262_144, 1_048_576]);
        for text in ["", "KiB", "1.5MiB", "1GB", "-1", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
