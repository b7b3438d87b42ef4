//! Listens for alerts at a queue that is subscribed to their topic.
//!
//! This file owns how an alert is read, raw or in the envelope of SNS. It does *not* own which tick it is about.

use std::{sync::Arc, time::Duration};

use aws_sdk_sqs::{
    Client,
    error::DisplayErrorContext,
    types::{DeleteMessageBatchRequestEntry, Message},
};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::Watch;

/// The listener ends if the queue is away for longer than this.
const AWAY_MAX: Duration = Duration::from_mins(1);

/// The pause after a call that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a receive call waits for alerts, in seconds. SQS allows no more.
const WAIT_S: i32 = 20;

/// Why the listener has ended.
#[derive(Debug, thiserror::Error)]
#[error("failed to receive alerts: {0}")]
pub struct AlertsError(String);

/// The fields of a ticklake alert that the listener needs.
#[derive(Debug, Deserialize)]
struct Alert {
    /// A repeated alert has the same id.
    id: Option<String>,
    symbol: String,
    /// Event time of the tick that it is about, RFC 3339.
    ts: Timestamp,
    /// The alert's stage of life. Only `open` counts, because later stages are about what is known already.
    state: Option<String>,
}

/// The envelope that SNS puts around a message (Amazon SNS Developer Guide, "HTTP/HTTPS notification JSON format").
/// Queues get the same envelope unless raw delivery is on.
#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(rename = "Message")]
    message: String,
}

/// Receives and deletes the alerts of a queue and tells the watch about them. It runs until the queue is away for too
/// long, or until the caller drops it.
pub async fn listen(client: Client, queue_url: &str, watch: Arc<Watch>) -> Result<(), AlertsError> {
    let mut heard = Instant::now();
    loop {
        let receive =
            client.receive_message().queue_url(queue_url).max_number_of_messages(10).wait_time_seconds(WAIT_S);
        let received = receive.send().await;
        let at = Instant::now();
        let messages = match received {
            Ok(answer) => answer.messages.unwrap_or_default(),
            Err(error) if heard.elapsed() > AWAY_MAX => {
                return Err(AlertsError(DisplayErrorContext(&error).to_string()));
            }
            Err(_) => {
                sleep(PAUSE).await;
                continue;
            }
        };
        heard = at;
        for alert in messages.iter().filter_map(|message| read(message.body()?)) {
            if alert.state.as_deref().is_none_or(|state| state == "open") {
                watch.alert(alert.id, &alert.symbol, alert.ts.as_microsecond(), at);
            }
        }
        let entry = |(id, message): (usize, &Message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
            entry.set_receipt_handle(message.receipt_handle.clone()).build()
        };
        let entries: Vec<_> = messages.iter().enumerate().filter_map(|message| entry(message).ok()).collect();
        if !entries.is_empty() {
            // If this fails, the messages come again. The watch then knows their ids, and they are deleted.
            let _ = client.delete_message_batch().queue_url(queue_url).set_entries(Some(entries)).send().await;
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
