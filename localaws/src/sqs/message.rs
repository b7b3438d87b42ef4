//! The content of a message, and the receipt that a receiver gets for it.
//!
//! This file does *not* own the message's place in its queue.

use std::{fmt, str::FromStr, sync::Arc};

use uuid::Uuid;

use super::{
    attributes_md5::{Attributes, Md5Hex},
    error::SqsError,
};
use crate::clock::Millis;

/// What a sender sent. It never changes, so a queue, its dead-letter queue and an answer in progress share one.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) id: Uuid,
    pub(crate) body: Box<str>,
    pub(crate) body_md5: Md5Hex,
    pub(crate) attributes: Attributes,
    pub(crate) attributes_md5: Option<Md5Hex>,
    /// The X-Ray header, the one system attribute that a sender may set.
    pub(crate) trace_header: Option<Box<str>>,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) deduplication: Option<Box<str>>,
}

/// The optional parts of a message.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(crate) attributes: Attributes,
    pub(crate) trace_header: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) deduplication: Option<String>,
}

impl Content {
    /// Makes a new message. Fails if the body is empty, or holds characters that are not allowed in XML.
    pub(crate) fn new(body: &str, extras: Extras) -> Result<Self, SqsError> {
        if body.is_empty() {
            return Err(SqsError::missing_parameter("MessageBody"));
        }
        if !is_xml_text(body) {
            return Err(SqsError::invalid_contents());
        }
        Ok(Self {
            id: crate::unique::id(),
            body: body.into(),
            body_md5: Md5Hex::of(body.as_bytes()),
            attributes_md5: extras.attributes.md5(),
            attributes: extras.attributes,
            trace_header: extras.trace_header.map(Into::into),
            group: extras.group.map(Into::into),
            deduplication: extras.deduplication.map(Into::into),
        })
    }

    /// The same content as a new message.
    pub(crate) fn renewed(&self) -> Self {
        Self { id: crate::unique::id(), ..self.clone() }
    }

    /// The size that counts against the message size limit.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + self.attributes.bytes()
    }
}

/// Whether SQS takes the text as a body: all characters are allowed in XML 1.0.
fn is_xml_text(body: &str) -> bool {
    let bytes = body.as_bytes();
    let control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    // A str can hold only two other characters that XML cannot: U+FFFE and U+FFFF. Both begin with 0xEF.
    !bytes.iter().any(control) && (!bytes.contains(&0xEF) || !body.contains(['\u{FFFE}', '\u{FFFF}']))
}

/// Identifies one receive of one message of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) queue: u32,
    pub(crate) sequence: u64,
    pub(crate) receives: u32,
}

const RECEIPT_PREFIX: &str = "AQEB";

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{RECEIPT_PREFIX}{:08x}{:016x}{:08x}", self.queue, self.sequence, self.receives)
    }
}

impl FromStr for Receipt {
    type Err = SqsError;

    fn from_str(handle: &str) -> Result<Self, SqsError> {
        let parse = || {
            let digits = handle.strip_prefix(RECEIPT_PREFIX)?;
            if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            Some(Self {
                queue: u32::from_str_radix(&digits[..8], 16).ok()?,
                sequence: u64::from_str_radix(&digits[8..24], 16).ok()?,
                receives: u32::from_str_radix(&digits[24..], 16).ok()?,
            })
        };
        parse().ok_or_else(SqsError::invalid_receipt)
    }
}

/// A message on its way to a receiver.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) content: Arc<Content>,
    pub(crate) receipt: Receipt,
    pub(crate) sent: Millis,
    /// The receive count that the receiver sees.
    pub(crate) count: u32,
    pub(crate) first_received: Millis,
    /// The queue that the message was moved from, if this is its dead-letter queue.
    pub(crate) source: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_survive_their_text_form() {
        let receipt = Receipt { queue: 7, sequence: u64::MAX, receives: 3 };
        assert_eq!(receipt.to_string().parse(), Ok(receipt));
    }

    #[test]
    fn malformed_receipts_are_rejected() {
        for handle in ["", "AQEB", "not-a-handle", "AQEB+000007ffffffffffffffff00000003", "AQEBžžžžžžžžžžžžžžžž"]
        {
            assert_eq!(handle.parse::<Receipt>(), Err(SqsError::invalid_receipt()), "{handle}");
        }
    }

    #[test]
    fn bodies_are_limited_to_xml_characters() {
        for good in ["x", "\t\n\r", "žluťoučký 🐎", "\u{FFFD}"] {
            assert!(is_xml_text(good), "{good:?}");
        }
        for bad in ["\0", "a\u{1}b", "\u{FFFE}", "a\u{FFFF}"] {
            assert!(!is_xml_text(bad), "{bad:?}");
        }
    }
}
