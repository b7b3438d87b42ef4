//! Shows a line per stage while the demo runs, if stderr is a terminal.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use loadgen::Progress;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::stats::Stats;

const REFRESH: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{msg:>8} {bar:40.cyan/blue} {human_pos:>10} of {human_len} ticks  {rate}/s";

/// The task that moves the lines, and the way to end it.
pub(super) struct Bars {
    task: JoinHandle<()>,
    finish: oneshot::Sender<()>,
}

impl Bars {
    /// Shows `ticks` ticks passing through sender, decoder and committer.
    #[expect(clippy::disallowed_methods, reason = "the task that prints progress is no part of a run")]
    pub(super) fn start(ticks: u64, sent: Arc<Progress>, stats: Arc<Stats>) -> Self {
        let lines = MultiProgress::new();
        let line = |stage: &'static str| {
            let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
            // The built-in rate has four decimals.
            let style = style.with_key("rate", |state: &ProgressState, text: &mut dyn fmt::Write| {
                // Writing into a string does not fail.
                let _ = write!(text, "{}", HumanCount(state.per_sec() as u64));
            });
            lines.add(ProgressBar::new(ticks).with_style(style).with_message(stage))
        };
        let (sending, decoding, storing) = (line("sent"), line("judged"), line("stored"));
        let (finish, mut finished) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                let done = tokio::time::timeout(REFRESH, &mut finished).await.is_ok();
                sending.set_position(sent.ticks.load(Ordering::Relaxed));
                decoding.set_position(stats.ticks_decoded.get());
                storing.set_position(stats.ticks_stored.get());
                if done {
                    break;
                }
            }
            for line in [sending, decoding, storing] {
                line.abandon();
            }
        });
        Self { task, finish }
    }

    /// Shows the last state and stops.
    pub(super) async fn finish(self) {
        // The task ends by itself only after this message.
        let _ = self.finish.send(());
        let _ = self.task.await;
    }
}
