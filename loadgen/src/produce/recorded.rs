//! Puts a recording into batches, in the order of the file. For a replay by the clock of the recording, it also says
//! when batches are due.
//!
//! It does *not* own the files, or how the clock deals with wrong times (`event_clock`).

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use ticklake_schemas::queue_of;

use super::{Emit, Preparation, ProduceError, Produced, event_clock::EventClock, packer::Packer};
use crate::{
    batch::Batcher,
    disturb::Fates,
    manifest::Tally,
    payload::{Message, PayloadError},
    replay::{Recording, replay},
    tick::{SymbolHash, Tick},
};

/// A replay by the clock of the recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// How many times as fast as recorded, above 0.
    pub factor: f64,
    /// The longest time, in real time, that a tick waits for others to share its message and its batch.
    pub linger: Duration,
}

/// Reads a recorded file and emits its messages. With a speed, the batches say when they are due.
pub fn recording(
    recording: &Recording,
    how: &Preparation,
    speed: Option<Speed>,
    emit: Emit<'_>,
) -> Result<Produced, ProduceError> {
    let mut reel = Reel {
        how,
        packer: Packer::new(how.packing, how.queues, how.marks)?,
        full: VecDeque::new(),
        fates: how.fates(0),
        batchers: how.batchers(),
        pace: speed.map(|speed| (speed, EventClock::new(speed.factor))),
        now: None,
        opened: None,
        twice: BTreeMap::new(),
        malformed: 0,
        emit,
    };
    let mut symbols = replay(recording, how.packing.dialect(), &mut |tick| reel.take(tick))?;
    reel.packer.finish(&mut reel.full)?;
    reel.batch_up();
    reel.close_batches();
    for (symbol, twice) in reel.twice {
        let tally = symbols.entry(symbol).or_default();
        tally.checksum = tally.checksum.wrapping_add(twice.checksum);
        tally.again = twice.again;
    }
    Ok(Produced { symbols, truth: Vec::new(), malformed: reel.malformed })
}

/// The state of a replay.
struct Reel<'a> {
    how: &'a Preparation,
    packer: Packer,
    /// Messages that are in no batch yet.
    full: VecDeque<Message>,
    fates: Fates,
    /// By queue.
    batchers: Vec<Batcher>,
    pace: Option<(Speed, EventClock)>,
    /// When the newest tick is sent, and the first one since batches were closed; both since the beginning.
    now: Option<Duration>,
    opened: Option<Duration>,
    /// The ticks that were sent twice, by symbol.
    twice: BTreeMap<String, Tally>,
    malformed: u64,
    emit: Emit<'a>,
}

impl Reel<'_> {
    /// Takes a tick. `false` asks for no more.
    fn take(&mut self, tick: &Tick<'_>) -> Result<bool, PayloadError> {
        let mut goes_on = true;
        if let Some((speed, clock)) = &mut self.pace {
            let (linger, now) = (speed.linger, clock.see(tick.ts_us));
            if self.opened.is_some_and(|opened| now > opened + linger) {
                self.packer.cut(&mut self.full)?;
                goes_on = self.batch_up() & self.close_batches();
                self.opened = None;
            }
            self.now = Some(now);
            self.opened.get_or_insert(now);
        }
        let fate = self.fates.draw();
        if fate.again_us.is_some() {
            self.twice.entry(tick.symbol.to_owned()).or_default().again(SymbolHash::of(tick.symbol), tick);
        }
        self.malformed += u64::from(fate.malformed.is_some());
        self.packer.take(tick, queue_of(tick.symbol, self.how.queues), fate, &mut self.full)?;
        Ok(self.batch_up() && goes_on)
    }

    /// Puts full messages into batches.
    fn batch_up(&mut self) -> bool {
        for message in &mut self.full {
            message.due = self.now;
        }
        super::batch_up(&mut self.full, &mut self.batchers, self.emit)
    }

    fn close_batches(&mut self) -> bool {
        let mut goes_on = true;
        for batch in self.batchers.iter_mut().filter_map(Batcher::finish) {
            // Senders take batches in order. A batch that is due before the one ahead of it would seem late.
            goes_on &= (self.emit)(batch.due_from(self.now));
        }
        goes_on
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tempfile::TempDir;

    use super::*;
    use crate::{Dialect, Layout, Packing, batch::Batch};

    const MS: Duration = Duration::from_millis(1);

    /// Replays ticks of one symbol at these times, in milliseconds.
    fn replay(ts_ms: &[i64], packing: Packing, speed: Option<Speed>) -> Vec<Batch> {
        let ticks: Vec<_> = ts_ms.iter().map(|ts| ("AAPL", *ts)).collect();
        replay_over(1, &ticks, packing, speed)
    }

    /// Replays ticks over some queues.
    fn replay_over(queues: usize, ticks: &[(&str, i64)], packing: Packing, speed: Option<Speed>) -> Vec<Batch> {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("trades.csv");
        let rows = ticks.iter().map(|(symbol, ts)| format!("{symbol},{},1.5,100", 1_700_000_000_000 + ts));
        let lines: Vec<String> = std::iter::once("symbol,ts,price,volume".to_owned()).chain(rows).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let mapping = "symbol=symbol,ts=ts,price=price,volume=volume".parse().unwrap();
        let batches = Mutex::new(Vec::new());
        let emit = |batch| {
            batches.lock().unwrap().push(batch);
            true
        };
        let recording = Recording { path, mapping, limit: None };
        let how = Preparation { queues, ..packing.into() };
        super::recording(&recording, &how, speed, &emit).unwrap();
        batches.into_inner().unwrap()
    }

    /// Senders take one batch after the other.
    #[test]
    fn batches_of_several_queues_are_due_in_the_order_in_which_they_come() {
        let speed = Some(Speed { factor: 1.0, linger: 100 * MS });
        // One queue gets a message, the other one gets many, and then the linger is over.
        let mut ticks = vec![("AAPL", 0), ("MSFT", 1)];
        ticks.extend((0..12).map(|at| ("MSFT", 2 + at)));
        ticks.push(("AAPL", 500));
        let batches = replay_over(2, &ticks, Packing::SINGLE, speed);
        assert!(batches.iter().any(|batch| batch.queue() == 0) && batches.iter().any(|batch| batch.queue() == 1));
        assert!(batches.is_sorted_by_key(|batch| batch.due().unwrap()), "{batches:?}");
    }

    #[test]
    fn batch_is_due_when_its_last_tick_was_and_no_tick_waits_for_longer_than_the_linger() {
        let speed = Some(Speed { factor: 10.0, linger: 100 * MS });
        let seen = |batches: &[Batch]| {
            batches.iter().map(|batch| (batch.ticks(), batch.due().unwrap().as_millis())).collect::<Vec<_>>()
        };
        let singles = replay(&[0, 10, 20, 400, 2_000, 2_100], Packing::SINGLE, speed);
        assert_eq!(seen(&singles), [(4, 40), (2, 210)]);
        let packed = Packing::new(2, Layout::Array, Dialect::Canonical).unwrap();
        let packed = replay(&[0, 10, 20, 1_500, 1_510, 4_000], packed, speed);
        assert_eq!(seen(&packed), [(3, 2), (2, 151), (1, 400)]);
        assert_eq!(packed[0].messages().len(), 2, "the second one is cut short");
    }

    #[test]
    fn without_a_speed_nothing_is_due() {
        let batches = replay(&[0, 10_000, 20_000], Packing::SINGLE, None);
        assert_eq!((batches.len(), batches[0].due()), (1, None));
    }
}
