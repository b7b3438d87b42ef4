//! What each kind of event does to the trades.
//!
//! Shapes are computed from the trades as they were recorded and collected as [`Edits`]. So no event sees the edits of
//! another one. This file does *not* own where an event begins (`schedule`).

use super::{Direction, EventKind, PriceStep, Trades, lane::Lane};

const SECOND_US: i64 = 1_000_000;
/// How long a shifted level is held.
const LEVEL_US: i64 = 120 * SECOND_US;
/// How long a move drifts, how long it then stays, and how long it takes to come back.
const MOVE_US: [i64; 3] = [60 * SECOND_US, 60 * SECOND_US, 300 * SECOND_US];
/// Volatility is measured from a centred mean that reaches this far to both sides.
const MEAN_REACH_US: i64 = 5 * SECOND_US;
/// An event that lasts a while must alter at least this many trades.
pub(super) const TRADES_MIN: usize = 10;

/// The changes to rows of the file.
#[derive(Debug, Default)]
pub(super) struct Edits {
    prices: Vec<(usize, f64)>,
    volumes: Vec<(usize, f64)>,
    removed: Vec<usize>,
}

/// An event's edits, and the prices that its record shows: before and after.
pub(super) struct Shape {
    pub(super) edits: Edits,
    pub(super) shown: Option<(f64, f64)>,
}

impl Edits {
    pub(super) fn extend(&mut self, other: Edits) {
        self.prices.extend(other.prices);
        self.volumes.extend(other.volumes);
        self.removed.extend(other.removed);
    }

    fn len(&self) -> usize {
        self.prices.len() + self.volumes.len() + self.removed.len()
    }

    /// The first row of the file that is edited, or 0 if there is none.
    pub(super) fn first_row(&self) -> usize {
        let rows = |edits: &[(usize, f64)]| edits.iter().map(|&(row, _)| row).min();
        let firsts = [rows(&self.prices), rows(&self.volumes), self.removed.iter().copied().min()];
        firsts.into_iter().flatten().min().unwrap_or(0)
    }

    /// Which of `len` rows are removed.
    pub(super) fn removed_rows(&self, len: usize) -> Vec<bool> {
        let mut removed = vec![false; len];
        for &row in &self.removed {
            removed[row] = true;
        }
        removed
    }

    pub(super) fn apply(&self, trades: &mut Trades) {
        for &(row, price) in &self.prices {
            trades.price[row] = price;
        }
        for &(row, volume) in &self.volumes {
            trades.volume[row] = volume;
        }
        let removed = self.removed_rows(trades.len());
        keep(&mut trades.symbol, &removed);
        keep(&mut trades.ts_us, &removed);
        keep(&mut trades.price, &removed);
        keep(&mut trades.volume, &removed);
        keep(&mut trades.venue, &removed);
        keep(&mut trades.conditions, &removed);
    }
}

fn keep<T>(column: &mut Vec<T>, removed: &[bool]) {
    let mut removed = removed.iter();
    column.retain(|_| removed.next() == Some(&false));
}

/// The edits of an event that begins with trade `at` of the lane. `None` if there are too few trades for it, or if
/// their values are too small.
pub(super) fn shape(
    kind: EventKind,
    direction: Option<Direction>,
    lane: &Lane<'_>,
    at: usize,
    step: PriceStep,
) -> Option<Shape> {
    let sign = if direction == Some(Direction::Down) { -1.0 } else { 1.0 };
    let shape = match kind {
        EventKind::Spike20bp => held(lane, at..=at, 1.0 + sign * 0.002, step),
        EventKind::Spike50bp => held(lane, at..=at, 1.0 + sign * 0.005, step),
        EventKind::Spike100bp => held(lane, at..=at, 1.0 + sign * 0.01, step),
        EventKind::DecimalShift => held(lane, at..=at, if sign > 0.0 { 10.0 } else { 0.1 }, step),
        EventKind::LevelShift50bp => held(lane, stretch(lane, at, LEVEL_US), 1.0 + sign * 0.005, step),
        EventKind::Move50bp60s => Some(drifting(lane, at, sign * 0.005, step)),
        EventKind::VolatilityX5 => Some(volatile(lane, at, 5.0, step)),
        EventKind::VolatilityX10 => Some(volatile(lane, at, 10.0, step)),
        EventKind::VolumeX20 => Some(voluminous(lane, at, 20.0)),
        EventKind::VolumeX50 => Some(voluminous(lane, at, 50.0)),
        EventKind::Gap30s | EventKind::Gap60s => Some(gap(lane, at, span_us(kind))),
    }?;
    let trades_min = if kind.spans().dense.is_zero() { 1 } else { TRADES_MIN };
    (shape.edits.len() >= trades_min).then_some(shape)
}

fn span_us(kind: EventKind) -> i64 {
    kind.spans().event.as_micros() as i64
}

/// The trades from `at` on, within `length_us`.
fn stretch(lane: &Lane<'_>, at: usize, length_us: i64) -> std::ops::RangeInclusive<usize> {
    let end = lane.find(lane.ts_us(at).saturating_add(length_us));
    at..=end.max(at + 1) - 1
}

/// Multiplies every price by `factor`. `None` if one of the prices cannot be moved.
fn held(lane: &Lane<'_>, trades: std::ops::RangeInclusive<usize>, factor: f64, step: PriceStep) -> Option<Shape> {
    let first = *trades.start();
    let scaled = |at| Some((lane.row(at), step.scaled(lane.price(at), factor)?));
    let prices: Vec<(usize, f64)> = trades.map(scaled).collect::<Option<_>>()?;
    let shown = prices.first().map(|&(_, observed)| (lane.price(first), observed));
    Some(Shape { edits: Edits { prices, ..Edits::default() }, shown })
}

/// Prices drift away by `size`, stay, and come back. A price that would move by less than a step stays as it is.
fn drifting(lane: &Lane<'_>, at: usize, size: f64, step: PriceStep) -> Shape {
    let [away, stay, back] = MOVE_US;
    let start_us = lane.ts_us(at);
    let mut shape = Shape { edits: Edits::default(), shown: None };
    for at in stretch(lane, at, away + stay + back) {
        let after_us = lane.ts_us(at) - start_us;
        let part = match after_us {
            _ if after_us < away => after_us as f64 / away as f64,
            _ if after_us < away + stay => 1.0,
            _ => 1.0 - (after_us - away - stay) as f64 / back as f64,
        };
        let (expected, observed) = (lane.price(at), step.round(lane.price(at) * (1.0 + size * part)));
        if observed <= 0.0 || !step.tells_apart(expected, observed) {
            continue;
        }
        shape.edits.prices.push((lane.row(at), observed));
        if after_us >= away && shape.shown.is_none() {
            shape.shown = Some((expected, observed));
        }
    }
    shape
}

/// Multiplies the distance of each price from the mean around it by `factor`. Prices on that mean stay as they are.
fn volatile(lane: &Lane<'_>, at: usize, factor: f64, step: PriceStep) -> Shape {
    let mut prices = Vec::new();
    let mut around = lane.find(lane.ts_us(at) - MEAN_REACH_US)..0;
    around.end = around.start;
    let mut sum = 0.0;
    for at in stretch(lane, at, span_us(EventKind::VolatilityX5)) {
        let ts_us = lane.ts_us(at);
        while around.end < lane.len() && lane.ts_us(around.end) <= ts_us + MEAN_REACH_US {
            sum += lane.price(around.end);
            around.end += 1;
        }
        while lane.ts_us(around.start) < ts_us - MEAN_REACH_US {
            sum -= lane.price(around.start);
            around.start += 1;
        }
        let (price, mean) = (lane.price(at), sum / around.len() as f64);
        let wild = step.round(mean + factor * (price - mean));
        if wild > 0.0 && step.tells_apart(price, wild) {
            prices.push((lane.row(at), wild));
        }
    }
    Shape { edits: Edits { prices, ..Edits::default() }, shown: None }
}

/// Multiplies the volumes by `factor`.
fn voluminous(lane: &Lane<'_>, at: usize, factor: f64) -> Shape {
    let trades = stretch(lane, at, span_us(EventKind::VolumeX20)).filter(|&at| lane.volume(at) > 0.0);
    let volumes = trades.map(|at| (lane.row(at), lane.volume(at) * factor)).collect();
    Shape { edits: Edits { volumes, ..Edits::default() }, shown: None }
}

/// Removes the trades of `length_us`.
fn gap(lane: &Lane<'_>, at: usize, length_us: i64) -> Shape {
    let removed = stretch(lane, at, length_us).map(|at| lane.row(at)).collect();
    Shape { edits: Edits { removed, ..Edits::default() }, shown: None }
}
