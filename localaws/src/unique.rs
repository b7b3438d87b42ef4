//! Identifiers that no two messages, requests or uploads share. They come from fast dice and are *not* secret.

use uuid::{Builder, Uuid};

/// A random identifier, of UUID version 4.
pub(crate) fn id() -> Uuid {
    // This uses the thread's own generator. `Uuid::new_v4` asks the system each time, which costs more than a message.
    Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid()
}
