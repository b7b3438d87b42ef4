//! A raised alert, and the row of the tick that made it certain.
//!
//! This file owns the order of a batch's alerts. That order depends neither on the number of shards nor on which shard
//! is done first. It does *not* own what becomes of the alerts.

use std::collections::HashMap;
use std::sync::Arc;

use crate::alert::Alert;

/// An alert, and the tick that made it certain.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    /// The alert.
    pub alert: Alert,
    /// The row of that tick in the whole batch, the same for every number of shards. A far price has the row of the
    /// tick that confirms it, and the end of a symbol's gap has the row of the tick that ends it.
    ///
    /// `None` if the clock made the alert certain: a silence, a time that ran out, a symbol that was forgotten, the end
    /// of the feed's silence. The tick that moved the clock may be of any symbol, so it gets no credit.
    pub row: Option<u32>,
}

impl Raised {
    /// Moves all `alerts` to the end of `raised`, each with `row`.
    #[cold]
    pub(super) fn credit(alerts: &mut Vec<Alert>, row: Option<u32>, raised: &mut Vec<Self>) {
        raised.extend(alerts.drain(..).map(|alert| Self { alert, row }));
    }

    /// Sorts the alerts that all shards raised for one batch by row, then by symbol. The alerts of one symbol keep the
    /// order in which its shard raised them. An alert without a row stands behind the last row that its symbol has
    /// before it, or first if there is none.
    ///
    /// Shards may append their alerts in any order, but each shard must append all of its own together.
    pub fn sort(raised: &mut Vec<Self>) {
        let mut last = HashMap::<Arc<str>, u32>::new();
        let place = |raised: Self| {
            let symbol = &raised.alert.symbol;
            let place = raised.row.or_else(|| last.get(symbol).copied());
            if let Some(row) = raised.row {
                last.insert(symbol.clone(), row);
            }
            (place, raised)
        };
        let mut placed: Vec<_> = raised.drain(..).map(place).collect();
        // The sort is stable: an event is not over before it has begun, whatever its times say.
        placed.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.alert.symbol.cmp(&other.alert.symbol)));
        raised.extend(placed.into_iter().map(|(_, raised)| raised));
    }
}
