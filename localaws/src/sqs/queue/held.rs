//! A message that a queue holds, and where it stands. It does *not* own how it gets from one place to another.

use std::sync::Arc;

use crate::{clock::Millis, sqs::message::Content};

#[derive(Debug)]
pub(super) struct Message {
    pub(super) content: Arc<Content>,
    pub(super) sent: Millis,
    pub(super) first_received: Millis,
    pub(super) received: Millis,
    pub(super) receives: u32,
    pub(super) place: Place,
    pub(super) source: Option<Arc<str>>,
    /// Made by rudeness, which makes no copies of copies.
    pub(super) is_copy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Visible,
    InFlight { until: Millis },
    Delayed { until: Millis },
}
