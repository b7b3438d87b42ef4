//! The promises of the three services, seen through the official SDK over real HTTP.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod dead_letters;
mod faults;
mod fuzz;
mod raw;
mod restart;
mod s3;
mod server;
mod signatures;
mod sns;
mod sqs;

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_sdk_s3::config::Credentials;
use localaws::{LocalAws, Options};
use tempfile::TempDir;

/// A server with its own folder, and clients for it.
struct Local {
    server: LocalAws,
    dir: TempDir,
    s3: aws_sdk_s3::Client,
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
}

impl Local {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let server = LocalAws::start(Options::new(dir.path())).await.unwrap();
        let (s3, sns, sqs) = clients(&server.url(), "us-east-1").await;
        Self { server, dir, s3, sns, sqs }
    }

    async fn queue(&self, name: &str) -> String {
        self.sqs.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap()
    }

    async fn bucket(&self, name: &str) -> &'static str {
        self.s3.create_bucket().bucket(name).send().await.unwrap();
        name.to_owned().leak()
    }

    /// Receives until `count` messages came, or until none comes for a second.
    async fn bodies(&self, queue: &str, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        while bodies.len() < count {
            let receive = self.sqs.receive_message().queue_url(queue).max_number_of_messages(10).wait_time_seconds(1);
            let messages = receive.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            bodies.extend(messages.into_iter().map(|message| message.body.unwrap()));
        }
        bodies.sort();
        bodies
    }
}

/// Clients that do not retry, so that a test sees each answer.
async fn clients(url: &str, region: &str) -> (aws_sdk_s3::Client, aws_sdk_sns::Client, aws_sdk_sqs::Client) {
    clients_of(url, region, Credentials::new("AKIDEXAMPLE", "secret", None, None, "test")).await
}

/// The same, with particular credentials.
async fn clients_of(
    url: &str,
    region: &str,
    credentials: Credentials,
) -> (aws_sdk_s3::Client, aws_sdk_sns::Client, aws_sdk_sqs::Client) {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(credentials)
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(url)
        .load()
        .await;
    let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    (aws_sdk_s3::Client::from_conf(s3), aws_sdk_sns::Client::new(&config), aws_sdk_sqs::Client::new(&config))
}

/// The error code and the HTTP status of a failed call.
fn code<T: std::fmt::Debug, E>(result: Result<T, aws_sdk_s3::error::SdkError<E>>) -> (String, u16)
where
    E: aws_sdk_s3::error::ProvideErrorMetadata + std::fmt::Debug,
{
    let error = result.unwrap_err();
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let code = error.as_service_error().and_then(|error| error.code()).unwrap_or("none");
    (code.to_owned(), status)
}

/// A pause that is long for loopback and short for a test run.
const MOMENT: Duration = Duration::from_millis(100);
