//! This file owns when seconds, looks at symbols and silences are due by the clock. It does *not* own what is found.

use super::Detectors;
use super::activity::NEVER_US;
use super::observation::Now;
use super::raised::Raised;
use super::watched::Watchers;

impl Detectors {
    /// Moves the clock on. Adds alerts about what time has decided by then, and about symbols that are silent for too
    /// long.
    #[inline]
    pub(super) fn advance(&mut self, now: Now, raised: &mut Vec<Raised>) {
        if self.is_due(now.clock_us) {
            self.second_is_over(now, raised);
        } else {
            self.symbols.set_now(now.clock_us);
        }
    }

    #[cold]
    fn second_is_over(&mut self, now: Now, raised: &mut Vec<Raised>) {
        let now_us = now.clock_us;
        self.looks(now);
        self.symbols.advance(now_us);
        while let Some(forgotten) = self.symbols.next_forgotten() {
            self.watchers.forget(forgotten, now, &mut self.alerts);
        }
        self.silences(now, false);
        self.feed.seen(self.watchers.usual(), now, &mut self.alerts);
        Raised::credit(&mut self.alerts, None, raised);
        self.due_us = self.feed.over_us().min(self.symbols.sweep_us());
    }

    /// Adds alerts about what time has decided by now: what far prices were, and which events are over.
    pub(super) fn looks(&mut self, now: Now) {
        while let Some((due_us, slot)) = self.looks.next(now.clock_us) {
            let Some(watched) = self.symbols.at(slot).filter(|watched| watched.is_due(due_us)) else { continue };
            self.suppressed += self.watchers.look(slot, watched, now, &mut self.alerts);
            if let Some(due_us) = Watchers::next_look_us(watched) {
                self.looks.set(due_us, slot);
            }
        }
    }

    /// Adds alerts about symbols that are silent for too long by now. If all are silent at once, there is one alert,
    /// about the feed.
    pub(super) fn silences(&mut self, now: Now, is_idle: bool) {
        let gap = self.feed.gap(self.watchers.usual(), now.clock_us);
        // While no tick comes at all, a feed with several symbols is silent, and not its single symbols.
        if !(is_idle && self.feed.has_several()) {
            self.silences_of_symbols(now, gap.map(|gap| gap.since_us));
        }
        if let Some(gap) = gap {
            self.feed.set_gap(gap, self.shard.is_first(), self.watchers.usual(), now, &mut self.alerts);
        }
    }

    /// The same for each symbol. If all are silent for too long, `feed_since_us` is the time since which they are.
    fn silences_of_symbols(&mut self, now: Now, feed_since_us: Option<i64>) {
        self.waited_us = self.waited_us.max(now.clock_us.saturating_sub(self.feed.delay_us()));
        let waited_us = self.waited_us;
        while let Some((due_us, slot)) = self.silent.next(waited_us) {
            let Some(watched) = self.symbols.at(slot).filter(|watched| watched.activity.due_us == due_us) else {
                continue;
            };
            watched.activity.due_us = NEVER_US;
            match (self.watchers.too_long_us(watched, waited_us), feed_since_us) {
                (Some(until_us), _) if until_us > waited_us => {
                    watched.activity.due_us = until_us;
                    self.silent.set(until_us, slot);
                }
                // All others are silent too. A new timer tells whether this one stays silent when they come back.
                (Some(until_us), Some(since_us)) if until_us > since_us => {
                    watched.activity.silence.set_gap(until_us);
                    let due_us = now.clock_us.saturating_add(until_us - since_us);
                    watched.activity.due_us = due_us;
                    self.silent.set(due_us, slot);
                }
                (Some(until_us), _) => {
                    watched.activity.silence.set_gap(until_us);
                    self.watchers.gap(slot, watched, until_us, now, &mut self.alerts);
                }
                // No silence is too long for it now. The next tick may set the timer again.
                (None, _) => {}
            }
        }
    }
}
