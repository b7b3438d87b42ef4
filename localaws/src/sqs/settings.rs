//! A queue's attributes: their names, their allowed values, and how they are read back.
//!
//! This file does *not* own the counts that the same call reads; those belong to the queue.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::error::SqsError;

/// The largest size of a message or a batch: 1 MiB.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1_048_576;

/// Attributes that are kept and returned, but have no effect here.
const KEPT: [&str; 7] = [
    "Policy",
    "RedriveAllowPolicy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
    "DeduplicationScope",
    "FifoThroughputLimit",
];

/// Attributes that a queue obeys.
const SET: [&str; 8] = [
    "VisibilityTimeout",
    "DelaySeconds",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "MaximumMessageSize",
    "FifoQueue",
    "ContentBasedDeduplication",
    "RedrivePolicy",
];

/// The attributes of a queue that its creator chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) visibility_seconds: u64,
    pub(crate) delay_seconds: u64,
    pub(crate) retention_seconds: u64,
    pub(crate) wait_seconds: u64,
    pub(crate) message_bytes_max: usize,
    pub(crate) fifo: bool,
    pub(crate) content_based_deduplication: bool,
    pub(crate) redrive: Option<Redrive>,
    kept: BTreeMap<String, String>,
}

/// Where messages go after too many receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redrive {
    pub(crate) target: Arc<str>,
    pub(crate) max_receives: u32,
    /// The policy's text in the form in which it was set, because it is read back like that.
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedriveText {
    dead_letter_target_arn: String,
    max_receive_count: Number,
}

/// AWS accepts the count as a number or as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u32),
    Text(String),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility_seconds: 30,
            delay_seconds: 0,
            retention_seconds: 345_600,
            wait_seconds: 0,
            message_bytes_max: MESSAGE_BYTES_MAX,
            fifo: false,
            content_based_deduplication: false,
            redrive: None,
            kept: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Sets one attribute.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), SqsError> {
        let number = |low: u64, high: u64| {
            let number = value.parse().ok().filter(|number| (low..=high).contains(number));
            number.ok_or_else(|| SqsError::invalid_attribute_value(name))
        };
        let flag = || value.parse::<bool>().map_err(|_| SqsError::invalid_attribute_value(name));
        match name {
            "VisibilityTimeout" => self.visibility_seconds = number(0, 43_200)?,
            "DelaySeconds" => self.delay_seconds = number(0, 900)?,
            "MessageRetentionPeriod" => self.retention_seconds = number(60, 1_209_600)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait_seconds = number(0, 20)?,
            "MaximumMessageSize" => self.message_bytes_max = number(1024, MESSAGE_BYTES_MAX as u64)? as usize,
            "FifoQueue" => self.fifo = flag()?,
            "ContentBasedDeduplication" => self.content_based_deduplication = flag()?,
            // The empty string removes the policy.
            "RedrivePolicy" if value.is_empty() => self.redrive = None,
            "RedrivePolicy" => self.redrive = Some(Redrive::parse(value)?),
            _ if KEPT.contains(&name) => {
                self.kept.insert(name.to_owned(), value.to_owned());
            }
            _ => return Err(SqsError::invalid_attribute_name(name)),
        }
        Ok(())
    }

    /// Whether this attribute exists.
    pub(crate) fn knows(name: &str) -> bool {
        KEPT.contains(&name) || SET.contains(&name)
    }

    /// All attributes with a value, as a journal keeps them.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        self.entries().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// All attributes with a value, as they are read back.
    pub(crate) fn entries(&self) -> Vec<(&str, String)> {
        let mut entries = vec![
            ("VisibilityTimeout", self.visibility_seconds.to_string()),
            ("DelaySeconds", self.delay_seconds.to_string()),
            ("MessageRetentionPeriod", self.retention_seconds.to_string()),
            ("ReceiveMessageWaitTimeSeconds", self.wait_seconds.to_string()),
            ("MaximumMessageSize", self.message_bytes_max.to_string()),
        ];
        if self.fifo {
            entries.push(("FifoQueue", "true".to_owned()));
            entries.push(("ContentBasedDeduplication", self.content_based_deduplication.to_string()));
        }
        if let Some(redrive) = &self.redrive {
            entries.push(("RedrivePolicy", redrive.text.clone()));
        }
        entries.extend(self.kept.iter().map(|(name, value)| (name.as_str(), value.clone())));
        entries
    }
}

impl Redrive {
    fn parse(text: &str) -> Result<Self, SqsError> {
        let invalid = |reason: &str| {
            SqsError::invalid_parameter(format!(
                "Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"
            ))
        };
        let parsed: RedriveText = serde_json::from_str(text)
            .map_err(|_| invalid("Redrive policy does not contain its mandatory attributes."))?;
        let max_receives = match parsed.max_receive_count {
            Number::Number(number) => Some(number),
            Number::Text(text) => text.parse().ok(),
        };
        let max_receives = max_receives
            .filter(|count| (1..=1000).contains(count))
            .ok_or_else(|| invalid("Invalid value for maxReceiveCount."))?;
        Ok(Self { target: parsed.dead_letter_target_arn.into(), max_receives, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_back_as_they_were_set() {
        let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:d","maxReceiveCount":"3"}"#;
        let mut settings = Settings::default();
        for (name, value) in [("VisibilityTimeout", "7"), ("RedrivePolicy", policy), ("Policy", "{}")] {
            settings.set(name, value).unwrap();
            assert!(settings.entries().contains(&(name, value.to_owned())), "{name}");
        }
        assert_eq!(settings.redrive.unwrap().max_receives, 3);
    }

    #[test]
    fn values_out_of_bounds_are_rejected() {
        for (name, value) in [
            ("VisibilityTimeout", "43201"),
            ("DelaySeconds", "901"),
            ("MessageRetentionPeriod", "59"),
            ("ReceiveMessageWaitTimeSeconds", "21"),
            ("MaximumMessageSize", "1048577"),
            ("RedrivePolicy", "{}"),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"a","maxReceiveCount":0}"#),
            ("Unknown", "1"),
        ] {
            assert!(Settings::default().set(name, value).is_err(), "{name} {value}");
        }
    }
}
