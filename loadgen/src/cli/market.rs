//! Who trades on the model market, as a user says it: what the commands that send it have in common.
//!
//! It does *not* own how the market behaves ([`loadgen::market`]).

use clap::Args;
use loadgen::Zipf;

/// Who trades.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct MarketArgs {
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,

    /// How many symbols are traded.
    #[arg(long, default_value_t = 500)]
    pub(super) symbols: usize,

    /// How unequal they are: the one of rank r trades in proportion to 1 / (r + OFFSET)^EXPONENT; 0 makes all alike, 1
    /// is plain Zipf.
    #[arg(long, value_name = "EXPONENT[/OFFSET]", default_value_t = Zipf::default())]
    pub(super) zipf: Zipf,
}
