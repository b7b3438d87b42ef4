//! Listens for alerts at a queue that is subscribed to their topic.
//!
//! This file owns how an alert is read, raw or in the envelope of SNS. It does *not* own what it is about.

use std::sync::Arc;

use aws_sdk_sqs::{Client, error::DisplayErrorContext, types::DeleteMessageBatchRequestEntry};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::Instant;

use crate::send::Progress;

/// How long a receive call waits for alerts, in seconds; the most that SQS takes.
const WAIT_S: i32 = 20;

/// Why nobody listens any more.
#[derive(Debug, thiserror::Error)]
#[error("failed to receive alerts: {0}")]
pub struct AlertsError(String);

/// What is needed of an alert: the fields that ticklake's have.
#[derive(Debug, Deserialize)]
struct Alert {
    symbol: String,
    /// Event time of the tick that it is about, RFC 3339.
    ts: Timestamp,
    /// What it says of its event; one that is not its beginning is about what is known already.
    state: Option<String>,
}

/// What SNS wraps a message in (Amazon SNS Developer Guide, "HTTP/HTTPS notification JSON format"; queues get the same unless raw delivery
/// is on).
#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(rename = "Message")]
    message: String,
}

/// Receives and deletes the alerts of a queue and tells the watch of `progress` about them. Goes on until an error, or until it is
/// dropped.
pub async fn listen(client: Client, queue_url: &str, progress: Arc<Progress>) -> Result<(), AlertsError> {
    let failed = |error: &(dyn std::error::Error + 'static)| AlertsError(DisplayErrorContext(error).to_string());
    loop {
        let receive =
            client.receive_message().queue_url(queue_url).max_number_of_messages(10).wait_time_seconds(WAIT_S);
        let messages = receive.send().await.map_err(|error| failed(&error))?.messages.unwrap_or_default();
        let at = Instant::now();
        for alert in messages.iter().filter_map(|message| read(message.body()?)) {
            if let Some(watch) = &progress.watch
                && alert.state.as_deref().is_none_or(|state| state == "open")
            {
                watch.alert(&alert.symbol, alert.ts.as_microsecond(), at);
            }
        }
        let entry = |(id, message): (usize, &aws_sdk_sqs::types::Message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
            entry.set_receipt_handle(message.receipt_handle.clone()).build()
        };
        let entries: Vec<_> = messages.iter().enumerate().filter_map(|message| entry(message).ok()).collect();
        if !entries.is_empty() {
            let delete = client.delete_message_batch().queue_url(queue_url).set_entries(Some(entries));
            delete.send().await.map_err(|error| failed(&error))?;
        }
    }
}

fn read(body: &str) -> Option<Alert> {
    let inner = serde_json::from_str::<Envelope>(body).map(|envelope| envelope.message);
    serde_json::from_str(inner.as_deref().unwrap_or(body)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn alert_is_read_raw_and_from_an_envelope() {
        let schema: Value = serde_json::from_str(ticklake_schemas::ALERT_JSON_SCHEMA).unwrap();
        let examples = schema["properties"].as_object().unwrap().iter();
        let alert: Value = examples.map(|(name, property)| (name.clone(), property["examples"][0].clone())).collect();
        let envelope = json!({"Type": "Notification", "MessageId": "1", "Message": alert.to_string()});
        for body in [alert.to_string(), envelope.to_string()] {
            let read = read(&body).unwrap();
            assert_eq!(read.symbol, alert["symbol"].as_str().unwrap());
            assert_eq!(read.ts.to_string(), alert["ts"].as_str().unwrap().parse::<Timestamp>().unwrap().to_string());
            assert_eq!(read.state.as_deref(), Some("open"));
        }
        assert!(read("hello").is_none() && read("{}").is_none());
    }
}
