//! Anomaly detection per symbol, tick by tick, in the order in which the ticks arrive.
//!
//! Every tick is shown to the detectors of its symbol. *Spike* finds a price far from the recent ones, *level shift* a
//! far price that stays, *threshold* a price that crosses a configured line. *Move*, *volatility*, *volume* and *limit
//! band* judge the last minutes (see [`activity`]). *Clock* finds an event time that cannot be right. *Gap* finds a
//! symbol without a tick for too long, while ticks of others move the clock on. Anomalies of the same cause form one
//! event ([`events`]), and alerts report it. The same ticks in the same order raise the same alerts, with the same ids.
//!
//! This file owns the way from a batch to alerts, and the clock by which silence is measured. It does *not* own the
//! detectors, or what becomes of alerts. All state except for the feed's is per symbol. So symbols can be spread over
//! several [`Detectors`], one per [`Shard`].

mod config;
mod pattern;

mod feed;
mod observation;
mod passing;
mod raised;
mod shard;
mod skips;
mod timers;
mod watch_list;
mod watched;

mod rules;

mod line;
mod spike;
mod suspect;
mod suspicion;

mod deviation;
mod median;
mod tick_size;

mod activity;
mod baseline;
mod lateness;
mod limit_band;
mod movement;
mod panes;
mod silence;
mod time_of_day;
mod volatility;
mod volume;

mod anomaly;
mod events;
mod recent;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trades;

pub use config::{
    ClockConfig, DetectConfig, DetectConfigError, GapConfig, LevelShiftConfig, LimitBandConfig, MoveConfig,
    OverrideConfig, SpikeConfig, ThresholdConfig, Tier, VolatilityConfig, VolumeConfig,
};

pub use self::raised::Raised;
pub use self::shard::Shard;

use self::activity::NEVER_US;
use self::feed::Feed;
use self::observation::{Now, Observation};
use self::rules::micros;
use self::skips::Skips;
use self::time_of_day::HalfHour;
use self::timers::Timers;
use self::watch_list::WatchList;
use self::watched::{Watched, Watchers};
use crate::alert::Alert;
use crate::names::NameId;
use crate::tick::{Dictionaries, TickBatch};

/// All detectors, and what they know of the symbols seen so far.
#[derive(Debug)]
pub struct Detectors {
    shard: Shard,
    watchers: Watchers,
    symbols: WatchList<Watched>,
    /// The ticks of a batch that belong to this shard, and spare room. The buffer is kept between batches.
    own: Vec<OwnTick>,
    /// Alerts of one tick, or of one move of the clock, that are not credited to a row yet.
    alerts: Vec<Alert>,
    suppressed: u64,
    unwatched: u64,
    skipped: u64,
    skips: Skips,
    /// When to look at a symbol again: `silent` for its silence, `looks` for what time alone decides.
    silent: Timers,
    looks: Timers,
    feed: Feed,
    /// All ticks up to this event time are expected to have come.
    waited_us: i64,
    /// When [`Detectors::advance`] has work next: a second of the feed is over, or silent symbols are looked for.
    due_us: i64,
    /// How far the feed's clock was behind the decoders' clock when it last moved on.
    behind_us: i64,
}

impl Detectors {
    /// Detectors that have seen nothing yet. `config` must be [valid](DetectConfig::validate).
    #[must_use]
    pub fn new(config: &DetectConfig) -> Self {
        Self::of_shard(config, Shard::WHOLE)
    }

    /// The same for the symbols of one shard. All shards together watch at most [`DetectConfig::symbols_max`] symbols.
    /// As long as that suffices, they raise the same alerts as one, if each is shown all ticks.
    #[must_use]
    pub fn of_shard(config: &DetectConfig, shard: Shard) -> Self {
        Self {
            shard,
            watchers: Watchers::new(config),
            symbols: WatchList::new(shard.share(config.symbols_max), micros(config.idle_max)),
            own: Vec::new(),
            alerts: Vec::new(),
            suppressed: 0,
            unwatched: 0,
            skipped: 0,
            skips: Skips::new(&config.skip_conditions),
            silent: Timers::default(),
            looks: Timers::default(),
            feed: Feed::default(),
            waited_us: i64::MIN,
            due_us: i64::MIN,
            behind_us: 0,
        }
    }

    /// Shows every tick of a batch to the detectors. Adds the alerts to `raised`, each with its row. Ticks of other
    /// shards count only by their time: which symbols fall silent must not depend on the number of shards.
    ///
    /// `names` are the tables of the batch's symbols and conditions, the same in every call. `decoded_at_us` is the
    /// time now, in microseconds since the Unix epoch. For recorded ticks it is `None`, and their latest event time
    /// stands for it. Only alerts and new symbols allocate memory.
    pub fn observe(
        &mut self,
        ticks: &TickBatch,
        names: &Dictionaries,
        decoded_at_us: Option<i64>,
        raised: &mut Vec<Raised>,
    ) {
        let latest_us = decoded_at_us.unwrap_or(i64::MAX);
        let moved_on = |now_us, ts_us| WatchList::<Watched>::moved_on(now_us, ts_us, latest_us);
        let rows = ticks.symbol.iter().zip(&ticks.ts_us);
        let mut now_us = self.symbols.now_us();
        if let Some(&ts_us) = ticks.ts_us.first() {
            self.feed.begin(moved_on(now_us, ts_us));
        }
        let batch = Batch { ticks, names, decoded_at_us };
        let before_us = now_us;
        if self.shard == Shard::WHOLE {
            for ((&symbol, &ts_us), row) in rows.zip(0_u32..) {
                now_us = moved_on(now_us, ts_us);
                self.feed.note(symbol, ts_us, now_us);
                let (place, _) = self.shard.place(symbol);
                self.judge(OwnTick { row, place, now_us }, batch, raised);
            }
            self.set_behind(before_us, Now { clock_us: now_us, decoded_at_us });
            return;
        }
        // Collects the ticks of this shard first, without a branch on whose they are, and judges them later.
        let mut own = std::mem::take(&mut self.own);
        if own.len() < ticks.len() {
            own.resize(ticks.len(), OwnTick::default());
        }
        let mut count = 0;
        for ((&symbol, &ts_us), row) in rows.zip(0_u32..) {
            now_us = moved_on(now_us, ts_us);
            self.feed.note(symbol, ts_us, now_us);
            let (place, is_own) = self.shard.place(symbol);
            // All earlier ticks of this shard are judged before a tick of any shard lets the clock do its work.
            if self.is_due(now_us) {
                own[..count].iter().for_each(|tick| self.judge(*tick, batch, raised));
                count = 0;
                self.advance(Now { clock_us: now_us, decoded_at_us }, raised);
            }
            own[count] = OwnTick { row, place, now_us };
            count += usize::from(is_own);
        }
        own[..count].iter().for_each(|tick| self.judge(*tick, batch, raised));
        self.advance(Now { clock_us: now_us, decoded_at_us }, raised);
        self.own = own;
        self.set_behind(before_us, Now { clock_us: now_us, decoded_at_us });
    }

    /// Notes how far the clock is behind, if it has moved on since `before_us`. Late ticks alone do not show that.
    fn set_behind(&mut self, before_us: i64, now: Now) {
        if now.clock_us > before_us {
            self.behind_us = now.detected_at_us().saturating_sub(now.clock_us);
        }
    }

    /// No tick has come until `now_us`, microseconds since the Unix epoch, and none is waiting. Adds the alerts that
    /// time alone decides, without a row. The feed's clock moves on, as far behind `now_us` as before.
    pub fn idle(&mut self, now_us: i64, raised: &mut Vec<Raised>) {
        let clock_us = now_us.saturating_sub(self.behind_us);
        if !self.feed.has_begun() || clock_us <= self.symbols.now_us() {
            return;
        }
        let now = Now { clock_us, decoded_at_us: Some(now_us) };
        self.looks(now);
        self.silences(now, true);
        Raised::credit(&mut self.alerts, None, raised);
    }

    /// No more ticks will come. Adds the alerts, without a row, about far prices that still wait for the next ones.
    pub fn finish(&mut self, now_us: Option<i64>, raised: &mut Vec<Raised>) {
        let now = Now { clock_us: self.symbols.now_us(), decoded_at_us: now_us };
        for slot in 0..self.symbols.slots() {
            if let Some(watched) = self.symbols.at(slot).filter(|watched| watched.is_suspicious()) {
                self.suppressed += self.watchers.decide(slot, watched, now, &mut self.alerts);
            }
        }
        Raised::credit(&mut self.alerts, None, raised);
    }

    /// Whether [`Detectors::advance`] does more at `now_us` than move the clock.
    fn is_due(&self, now_us: i64) -> bool {
        now_us >= self.due_us
    }

    fn judge(&mut self, tick: OwnTick, batch: Batch<'_>, raised: &mut Vec<Raised>) {
        let OwnTick { row, place, now_us } = tick;
        let Batch { ticks, names, decoded_at_us } = batch;
        let now = Now { clock_us: now_us, decoded_at_us };
        let at = row as usize;
        let ts_us = ticks.ts_us[at];
        self.advance(now, raised);
        if self.skips.holds(ticks.conditions[at], &names.conditions) {
            self.skipped += 1;
            return;
        }
        let first_us = ts_us.min(decoded_at_us.unwrap_or(i64::MAX));
        let symbol = ticks.symbol[at];
        // The id of a guest may stand for another name in the next batch, so no state is kept for it.
        let is_kept = || !names.symbols.is_guest(symbol);
        let watch =
            |slot| is_kept().then(|| Some(self.watchers.watch(slot, names.symbols.get(symbol)?, first_us))).flatten();
        let Some((slot, watched)) = self.symbols.state(place as usize, watch) else {
            self.unwatched += 1;
            if is_kept() {
                self.symbols.want_room();
            }
            return;
        };
        let tick = Observation { ts_us, price: ticks.price[at], volume: ticks.volume[at], now };
        self.suppressed += self.watchers.observe(slot, watched, tick, &mut self.alerts);
        if !self.alerts.is_empty() || watched.is_timed() {
            if let Some(due_us) = Watchers::next_look_us(watched) {
                self.looks.set(due_us, slot);
            }
            Raised::credit(&mut self.alerts, Some(row), raised);
        }
        // A late tick must not set a timer for a silence that is over or was alerted.
        if watched.activity.due_us == NEVER_US
            && let Some(due_us) = self.watchers.too_long_us(watched, now_us)
            && due_us > self.waited_us
        {
            watched.activity.due_us = due_us;
            self.silent.set(due_us, slot);
        }
    }

    /// How prices of `symbol` are judged now: the median of the last ones, and the distance from it that counts as far.
    /// `None` if the symbol has no spike detector, or is not watched for long enough.
    pub fn band(&mut self, symbol: NameId) -> Option<(f64, f64)> {
        let (place, is_own) = self.shard.place(symbol);
        let (slot, watched) = self.symbols.state(place as usize, |_| None).filter(|_| is_own)?;
        self.watchers.band(slot, watched).map(|band| (band.expected, band.reach))
    }

    /// How many anomalies did not become alerts: an alert reported their event, or their level shift was too small.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// How many ticks were not judged because [`DetectConfig::symbols_max`] symbols were already watched, or because
    /// the table of names keeps no more symbols.
    #[must_use]
    pub fn unwatched(&self) -> u64 {
        self.unwatched
    }

    /// How many ticks were not judged because of their sale conditions.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How many ticks were too late for the windows of their symbol. They count only for its last prices.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.watchers.late
    }

    /// The bytes that a tick without an anomaly reads and writes of its symbol, if the symbol has no line. The sums for
    /// the time of day are not counted.
    #[must_use]
    pub fn hot_bytes_per_symbol(&self) -> usize {
        WatchList::<Watched>::entry_bytes() - size_of::<HalfHour>() + self.watchers.window_bytes()
    }

    /// How many symbols are watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.symbols.len()
    }
}

/// One batch, as [`Detectors::observe`] gets it.
#[derive(Clone, Copy)]
struct Batch<'a> {
    ticks: &'a TickBatch,
    names: &'a Dictionaries,
    decoded_at_us: Option<i64>,
}

/// A tick of one of a shard's symbols.
#[derive(Debug, Clone, Copy, Default)]
struct OwnTick {
    row: u32,
    place: u32,
    /// The list's clock at that tick.
    now_us: i64,
}
