//! [`Notifier`] over SNS.

use async_trait::async_trait;
use aws_sdk_s3::error::SdkError;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};

use super::{Call, failures};
use crate::ports::{EntryFailure, Notification, Notifier, PortError};

const PUBLISH: Call = Call { action: "publish alerts", permission: "sns:Publish" };

/// One SNS topic.
#[derive(Debug)]
pub struct SnsTopic {
    client: aws_sdk_sns::Client,
    arn: String,
}

impl SnsTopic {
    /// The topic of this ARN.
    #[must_use]
    pub fn new(client: aws_sdk_sns::Client, arn: String) -> Self {
        Self { client, arn }
    }
}

#[async_trait]
impl Notifier for SnsTopic {
    async fn publish(&self, notifications: &[Notification]) -> Result<Vec<EntryFailure>, PortError> {
        let fail = |error| PUBLISH.failed(&self.arn, error);
        let is_fifo = self.arn.strip_suffix(".fifo").is_some();
        let entries = notifications
            .iter()
            .enumerate()
            .map(|(index, notification)| entry(index, notification, is_fifo))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| fail(SdkError::construction_failure(error)))?;
        let call = self.client.publish_batch().topic_arn(&self.arn).set_publish_batch_request_entries(Some(entries));
        let answer = call.send().await.map_err(fail)?;
        let successful = answer.successful().iter().filter_map(|entry| entry.id.as_deref());
        let failed = answer.failed().iter().map(|entry| (entry.id.as_str(), entry.code.as_str(), entry.sender_fault));
        Ok(failures(notifications.len(), successful, failed))
    }
}

fn entry(
    index: usize,
    notification: &Notification,
    is_fifo: bool,
) -> Result<PublishBatchRequestEntry, aws_smithy_types::error::operation::BuildError> {
    // Per protocol:
    // https://docs.aws.amazon.com/sns/latest/dg/sns-send-custom-platform-specific-payloads-mobile-devices.html
    let Notification { body, email, sms, .. } = notification;
    let message = serde_json::json!({ "default": body, "email": email, "sms": sms });
    let mut entry = PublishBatchRequestEntry::builder()
        .id(index.to_string())
        .subject(&notification.subject)
        .message_structure("json")
        .message(message.to_string());
    for (name, value) in &notification.attributes {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value).build()?;
        entry = entry.message_attributes(*name, value);
    }
    if is_fifo {
        // SNS drops a repeat within five minutes, and keeps the alerts of each symbol in order.
        let symbol =
            notification.attributes.iter().find(|(name, _)| *name == "symbol").map(|(_, symbol)| symbol.as_str());
        entry = entry.message_deduplication_id(&notification.id).message_group_id(group_id(symbol.unwrap_or("alerts")));
    }
    entry.build()
}

/// The message group of a symbol: at most 128 characters of ASCII without blanks, as SNS wants it
/// (<https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>). Two symbols may share one, which orders more than
/// is needed.
fn group_id(symbol: &str) -> String {
    symbol.chars().take(128).map(|character| if character.is_ascii_graphic() { character } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_id_is_what_sns_takes() {
        assert_eq!(group_id("BTC/USDT"), "BTC/USDT");
        assert_eq!(group_id("SPY   261218P00540000"), "SPY___261218P00540000");
        assert_eq!(group_id(&"Ä".repeat(200)), "_".repeat(128));
    }
}
