//! A local queue, and a consumer that takes everything out of it.

use aws_sdk_sqs::{
    Client,
    config::{BehaviorVersion, Config, Credentials, Region},
    types::{DeleteMessageBatchRequestEntry, Message},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use localaws::{LocalAws, Options};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// A tick as a consumer reads it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Received {
    pub(crate) symbol: String,
    pub(crate) ts_us: i64,
    pub(crate) price: f64,
    pub(crate) volume: f64,
    pub(crate) seq: i64,
}

pub(crate) struct Queue {
    pub(crate) server: LocalAws,
    pub(crate) client: Client,
    pub(crate) url: String,
    _data: TempDir,
}

impl Queue {
    pub(crate) async fn start() -> Self {
        let data = TempDir::new().unwrap();
        let server = LocalAws::start(Options::new(data.path())).await.unwrap();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(server.url());
        let client = Client::from_conf(config.build());
        let created = client.create_queue().queue_name("ticks").send().await.unwrap();
        let url = created.queue_url().unwrap().to_owned();
        Self { server, client, url, _data: data }
    }

    /// A client of the object store of the same server.
    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .force_path_style(true)
            .endpoint_url(self.server.url());
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// Whether no messages wait in the queue.
    pub(crate) async fn is_empty(&self) -> bool {
        let name = aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages;
        let asked = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(name).send().await.unwrap();
        asked.attributes.unwrap().values().all(|count| count == "0")
    }

    /// Creates one more queue and returns its URL.
    pub(crate) async fn another(&self, name: &str) -> String {
        self.client.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap()
    }

    /// Takes every message out of the queue.
    pub(crate) async fn drain(&self) -> Vec<Received> {
        self.drain_one(&self.url).await
    }

    /// Takes every message out of that queue.
    pub(crate) async fn drain_one(&self, url: &str) -> Vec<Received> {
        let mut ticks = Vec::new();
        loop {
            let receive = self.client.receive_message().queue_url(url).max_number_of_messages(10);
            let messages = receive.message_attribute_names("All").send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return ticks;
            }
            ticks.extend(messages.iter().flat_map(read));
            let entries = messages.iter().enumerate().map(|(id, message)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
                entry.receipt_handle(message.receipt_handle().unwrap()).build().unwrap()
            });
            let delete = self.client.delete_message_batch().queue_url(url);
            assert!(delete.set_entries(Some(entries.collect())).send().await.unwrap().failed().is_empty());
        }
    }
}

fn read(message: &Message) -> Vec<Received> {
    let mut body = message.body().unwrap().to_owned();
    let encoding = message.message_attributes().and_then(|attributes| attributes.get("content-encoding"));
    if let Some(encoding) = encoding {
        assert_eq!(encoding.string_value(), Some("zstd"));
        let frame = BASE64_STANDARD.decode(&body).unwrap();
        body = String::from_utf8(zstd::stream::decode_all(frame.as_slice()).unwrap()).unwrap();
    }
    let values: Vec<Map<String, Value>> = if body.starts_with('[') {
        serde_json::from_str(&body).unwrap()
    } else {
        body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    values.iter().map(tick).collect()
}

fn tick(fields: &Map<String, Value>) -> Received {
    let number = |name: &str| match &fields[name] {
        Value::String(text) => text.parse().unwrap(),
        value => decimal(value.as_f64().unwrap()),
    };
    let integer = |name: &str| fields[name].as_i64().unwrap();
    if fields.contains_key("symbol") {
        Received {
            symbol: fields["symbol"].as_str().unwrap().to_owned(),
            ts_us: integer("ts"),
            price: number("price"),
            volume: number("volume"),
            seq: integer("seq"),
        }
    } else {
        assert_eq!(fields["e"], "trade");
        Received {
            symbol: fields["s"].as_str().unwrap().to_owned(),
            ts_us: integer("T") * 1_000,
            price: number("p"),
            volume: number("q"),
            seq: integer("t"),
        }
    }
}

/// The double nearest to a decimal of up to 8 places. `serde_json` may be off by the last bit.
fn decimal(read: f64) -> f64 {
    format!("{read:.8}").parse().unwrap()
}
