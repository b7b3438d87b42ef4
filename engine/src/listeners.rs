//! Listeners to alerts, beside the topic: each gets every alert that this engine raises or adopts.
//!
//! A listener has room for [`ALERTS_MAX`] alerts. If it is slower than that, it misses the oldest ones and learns how
//! many. It never holds up the engine, the topic or another listener. This file does *not* own what is sent to the
//! topic.

use std::sync::Arc;

use ticklake_core::alert::Alert;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Alerts that wait for the slowest listener.
pub const ALERTS_MAX: usize = 1_024;

/// Where alerts are announced.
#[derive(Debug, Clone)]
pub struct Listeners(broadcast::Sender<Arc<Alert>>);

impl Default for Listeners {
    fn default() -> Self {
        Self(broadcast::Sender::new(ALERTS_MAX))
    }
}

/// What a listener hears next.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// An alert.
    Alert(Arc<Alert>),
    /// The listener was too slow, and has missed this many alerts.
    Missed(u64),
}

/// One listener.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Arc<Alert>>);

impl Listeners {
    /// Tells every listener.
    pub(crate) fn tell(&self, alerts: &[Alert]) {
        if self.0.receiver_count() == 0 {
            return;
        }
        for alert in alerts {
            // An error means that the last listener has just left.
            let _ = self.0.send(Arc::new(alert.clone()));
        }
    }

    /// A listener that hears the alerts from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

impl Listener {
    /// Waits for the next alert; `None` once the engine is gone.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(alert) => Some(Heard::Alert(alert)),
            Err(RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use ticklake_core::alert::{Alert, Direction, Kind, Severity, State};

    use super::*;

    fn alert(id: usize) -> Alert {
        Alert {
            id: id.to_string(),
            event: String::new(),
            kind: Kind::Spike,
            state: State::Open,
            severity: Severity::Info,
            symbol: Arc::from("A"),
            direction: Direction::Up,
            ts_us: 0,
            detected_at_us: 0,
            observed: 2.0,
            expected: 1.0,
            scale: 0.1,
            score: 10.0,
            threshold: 6.0,
            window: "50 ticks".into(),
            suppressed: 0,
            ticks: Vec::new(),
        }
    }

    #[tokio::test]
    async fn slow_listener_misses_the_oldest_alerts_and_holds_nobody_up() {
        let listeners = Listeners::default();
        listeners.tell(&[alert(0)]);
        let (mut slow, mut quick) = (listeners.listen(), listeners.listen());
        for id in 1..=ALERTS_MAX + 5 {
            listeners.tell(&[alert(id)]);
            assert!(matches!(quick.next().await, Some(Heard::Alert(alert)) if alert.id == id.to_string()));
        }
        assert_eq!(slow.next().await, Some(Heard::Missed(5)));
        assert!(matches!(slow.next().await, Some(Heard::Alert(alert)) if alert.id == "6"));
        drop(listeners);
        for _ in 1..ALERTS_MAX {
            assert!(matches!(slow.next().await, Some(Heard::Alert(_))));
        }
        assert_eq!((slow.next().await, quick.next().await), (None, None));
    }
}
