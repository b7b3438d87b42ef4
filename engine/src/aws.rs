//! Clients of SQS, S3 and SNS, with timeouts and retries set for a process that runs for weeks.
//!
//! This file owns how AWS is reached. [`error`] owns what its errors mean, and `skew` owns what it says about our
//! clock. This file does *not* own the engine's ports or their retries.

pub mod error;
pub mod place;
mod skew;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use self::skew::ClockWatch;
use crate::config::{Aws, Config};

/// Attempts per request inside the SDK. They are few, because the pipeline retries on top of them, with its own cap and
/// jitter, and knows what waiting costs. The SDK only handles a connection that was closed while idle, and the odd 503.
pub(crate) const ATTEMPTS: u32 = 3;

/// The region for signatures if an endpoint is given and nothing names a region. A server in place of AWS rarely cares
/// about it, but the SDK refuses to sign without one.
const REGION_OF_CUSTOM_ENDPOINT: &str = "us-east-1";

/// Where the SDK looks for the endpoint of a single service.
const ENDPOINT_VARIABLES: [&str; 3] = [SQS_ENDPOINT_VARIABLE, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_SNS"];
const SQS_ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL_SQS";

/// One client per service, over one connection pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Amazon SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// Amazon S3.
    pub s3: aws_sdk_s3::Client,
    /// Amazon SNS.
    pub sns: aws_sdk_sns::Client,
    /// The endpoint of SQS, if it is not the default of the region.
    pub sqs_endpoint: Option<String>,
}

impl Clients {
    /// Clients with credentials and region from the usual chain: environment, profile, web identity, container,
    /// instance. The order is this one, so the SDK waits for the metadata service only if nothing else knows them.
    ///
    /// This sends nothing to the three services, so it cannot fail: the first request loads the credentials.
    ///
    /// If the URLs of the queues name a VPC endpoint or a server that is not AWS, SQS requests go there, unless an
    /// endpoint is configured.
    pub async fn connect(config: &Config) -> Self {
        let sdk = loader(&config.aws).load().await;
        let is_configured = sdk.endpoint_url().is_some() || std::env::var_os(SQS_ENDPOINT_VARIABLE).is_some();
        let queue_endpoint = if is_configured { None } else { place::endpoint_of(config.queue_urls()) };
        Self::over(sdk, &config.aws, queue_endpoint.as_deref())
    }

    /// Clients that sign with `credentials` and look for no others: for endpoints that know no roles.
    pub async fn connect_as(config: &Aws, credentials: Credentials) -> Self {
        Self::over(loader(config).credentials_provider(credentials).load().await, config, None)
    }

    fn over(mut sdk: SdkConfig, config: &Aws, queue_endpoint: Option<&str>) -> Self {
        let custom = sdk.endpoint_url().is_some()
            || queue_endpoint.is_some()
            || ENDPOINT_VARIABLES.iter().any(|name| std::env::var_os(name).is_some());
        if sdk.region().is_none() && custom {
            sdk = sdk.into_builder().region(Region::new(REGION_OF_CUSTOM_ENDPOINT)).build();
        }
        let configured = std::env::var(SQS_ENDPOINT_VARIABLE).ok().or_else(|| sdk.endpoint_url().map(str::to_owned));
        let sqs_endpoint = queue_endpoint.map(str::to_owned).or(configured);
        let watch = ClockWatch::default();
        let s3 = aws_sdk_s3::config::Builder::from(&sdk).force_path_style(config.s3_path_style);
        let mut sqs = aws_sdk_sqs::config::Builder::from(&sdk).interceptor(watch.clone());
        if let Some(endpoint) = queue_endpoint {
            sqs = sqs.endpoint_url(endpoint);
        }
        let sns = aws_sdk_sns::config::Builder::from(&sdk).interceptor(watch.clone());
        Self {
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            s3: aws_sdk_s3::Client::from_conf(s3.interceptor(watch).build()),
            sns: aws_sdk_sns::Client::from_conf(sns.build()),
            sqs_endpoint,
        }
    }
}

fn loader(config: &Aws) -> ConfigLoader {
    // An attempt has a deadline. The operation has none: the number of attempts bounds it. Without the deadline, a long
    // poll would wait for ever if its connection silently died. The SDK's stalled stream protection stays on. It cuts
    // off a transfer that stands still for 5 s, long before the attempt's deadline. It does not count a long poll as a
    // transfer.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(config.connect_timeout)
        .operation_attempt_timeout(config.attempt_timeout)
        .build();
    let http = HttpClientBuilder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    // If one of them is unset, the loader looks it up with the HTTP client above: the SDK has no other in this build.
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &config.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    loader
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    async fn sqs_endpoint(url: &str, endpoint: Option<&str>) -> Option<String> {
        let mut settings = Settings::default();
        settings.queue.url = url.to_owned();
        settings.lake.bucket = "lake".to_owned();
        settings.aws.region = Some("eu-west-1".to_owned());
        settings.aws.endpoint_url = endpoint.map(str::to_owned);
        Clients::connect(&settings.validate().unwrap()).await.sqs_endpoint
    }

    #[tokio::test]
    async fn server_that_a_queue_url_names_is_asked_unless_an_endpoint_is_configured() {
        let url = "http://elasticmq:9324/000000000000/ticks";
        assert_eq!(sqs_endpoint(url, None).await.as_deref(), Some("http://elasticmq:9324"));
        let configured = "http://localhost:4566";
        assert_eq!(sqs_endpoint(url, Some(configured)).await.as_deref(), Some(configured));
        let at_aws = "https://sqs.eu-west-1.amazonaws.com/123456789012/ticks";
        assert_eq!(sqs_endpoint(at_aws, None).await, None);
    }
}
