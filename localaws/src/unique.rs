//! Identifiers that no two messages, requests or uploads share. They come from fast dice and are *not* secret.

use uuid::{Builder, Uuid};

/// A random identifier, as of version 4.
pub(crate) fn id() -> Uuid {
    // The thread's own generator: `Uuid::new_v4` asks the system for each, which costs more than a message.
    Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid()
}
