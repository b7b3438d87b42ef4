//! Which endpoint a queue is reached at, whether it is safe to send there, and the client for it.
//!
//! Load that is meant for a local queue must not reach a real one by a forgotten variable. So anything but loopback has
//! to be named twice.

use std::{env, net::IpAddr};

use anyhow::{Context as _, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::{
    Client, config::Credentials, operation::get_queue_attributes::GetQueueAttributesError, types::QueueAttributeName,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use clap::Args;
use loadgen::observe::Depth;

/// Signs requests to a loopback endpoint, where nobody checks them, so that no credentials need to be set up for one.
const LOOPBACK_CREDENTIALS: &str = "loopback";

/// Signs requests to a loopback endpoint where no region is set.
const LOOPBACK_REGION: &str = "us-east-1";

/// Where to send.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Queues")]
pub(super) struct Destination {
    /// The queue. Where there are several, each symbol goes to one of them, by the CRC-32 of its name modulo their
    /// number.
    #[arg(long = "queue-url", value_name = "URL", required = true)]
    queue_urls: Vec<String>,

    /// The SQS endpoint, where it is not that of AWS. Without it `AWS_ENDPOINT_URL_SQS` and `AWS_ENDPOINT_URL` count,
    /// then the AWS profile, then the host of a queue URL on loopback.
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,

    /// Repeat each queue URL here to send to an endpoint that is not on loopback. It costs money, and whoever reads
    /// that queue gets made-up ticks.
    #[arg(long, value_name = "URL")]
    yes_send_to: Vec<String>,

    /// Send though the queue holds messages already, which a consumer then gets as well.
    #[arg(long)]
    add: bool,
}

impl Destination {
    pub(super) fn queue_urls(&self) -> &[String] {
        &self.queue_urls
    }

    /// What to call a run by: the names of its queues.
    pub(super) fn name(&self) -> String {
        let names = self.queue_urls.iter().map(|url| url.rsplit('/').next().unwrap_or(url));
        format!("Load on {}", names.collect::<Vec<_>>().join(", "))
    }

    /// A client for the queues, if they may be sent to, and for the one that alerts are received from.
    pub(super) async fn connect(&self, alerts: Option<&str>) -> anyhow::Result<Connection> {
        let local = self.explicit_endpoint().or_else(|| self.loopback_origin()).filter(|url| is_loopback(url));
        let shared = shared_config(local.is_some()).await;
        let endpoint = self.explicit_endpoint().or_else(|| shared.endpoint_url().map(str::to_owned)).or(local);
        self.check(endpoint.as_deref(), alerts)?;
        let local = endpoint.clone().filter(|url| is_loopback(url));
        let mut config = aws_sdk_sqs::config::Builder::from(&shared);
        config.set_endpoint_url(endpoint);
        let client = Client::from_conf(config.build());
        if !self.add {
            for queue_url in &self.queue_urls {
                check_empty(&client, queue_url, local.is_some()).await?;
            }
            if let Some(queue_url) = alerts
                && Depth::of(&client, &[queue_url.to_owned()]).await? != Depth::default()
            {
                bail!(
                    "refused to listen for alerts at {queue_url}: it holds some already\nempty it, or count them as well: --add"
                );
            }
        }
        Ok(Connection { client, local })
    }

    /// That of the first queue on loopback.
    fn loopback_origin(&self) -> Option<String> {
        self.queue_urls.iter().find_map(|url| loopback_origin(url))
    }

    fn explicit_endpoint(&self) -> Option<String> {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        self.endpoint_url.clone().or_else(|| variable("AWS_ENDPOINT_URL_SQS")).or_else(|| variable("AWS_ENDPOINT_URL"))
    }

    /// Refuses an endpoint (`None`: that of AWS) that is not on loopback, unless every queue was named twice.
    fn check(&self, endpoint: Option<&str>, alerts: Option<&str>) -> anyhow::Result<()> {
        let mut urls = self.queue_urls.iter().map(String::as_str).chain(alerts);
        let unnamed = urls.find(|url| !self.yes_send_to.iter().any(|named| named == url));
        if let Some(url) = unnamed.filter(|_| !endpoint.is_some_and(is_loopback)) {
            let what = if alerts == Some(url) { "receive and delete alerts from" } else { "send to" };
            bail!(
                "refused to {what} {url} at {}: it is not on loopback\nrepeat the queue URL to do it all the same: --yes-send-to {url}",
                endpoint.unwrap_or("the endpoint of AWS"),
            );
        }
        Ok(())
    }
}

/// A client, and where it goes.
pub(super) struct Connection {
    pub(super) client: Client,
    /// Its endpoint, if that is on loopback.
    pub(super) local: Option<String>,
}

/// The settings of every AWS tool; for an endpoint on loopback with defaults where there are none.
pub(super) async fn shared_config(is_local: bool) -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if is_local {
        loader = loader.region(region_or(LOOPBACK_REGION));
        if env::var_os("AWS_ACCESS_KEY_ID").is_none() && env::var_os("AWS_PROFILE").is_none() {
            let (key, secret) = (LOOPBACK_CREDENTIALS, LOOPBACK_CREDENTIALS);
            loader = loader.credentials_provider(Credentials::new(key, secret, None, None, "loopback"));
        }
    }
    loader.load().await
}

/// Refuses a queue that holds messages: whatever is measured or audited then would be theirs as well. One that is not
/// there is created, on loopback.
async fn check_empty(client: &Client, queue_url: &str, is_local: bool) -> anyhow::Result<()> {
    let ask = client.get_queue_attributes().queue_url(queue_url).attribute_names(QueueAttributeName::QueueArn);
    let asked = ask.send().await;
    let is_missing = asked
        .as_ref()
        .is_err_and(|error| error.as_service_error().is_some_and(GetQueueAttributesError::is_queue_does_not_exist));
    if let Some(name) = queue_url.rsplit('/').next().filter(|_| is_missing && is_local) {
        let created = client.create_queue().queue_name(name).send().await;
        created.with_context(|| format!("failed to create the queue {name}"))?;
        return Ok(());
    }
    let unknown = || format!("failed to ask {queue_url} what it holds: --add sends unasked");
    asked.with_context(unknown)?;
    let held = Depth::of(client, &[queue_url.to_owned()]).await?;
    if held != Depth::default() {
        let messages = held.waiting + held.in_flight;
        bail!("refused to send to {queue_url}: it holds {messages} messages\ndrain it, or send all the same: --add");
    }
    Ok(())
}

/// The region of the environment, else `default`: asking the instance metadata, as the SDK would go on to do, takes
/// seconds where there is none.
fn region_or(default: &'static str) -> Region {
    let set = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| env::var(name).ok());
    set.map_or(Region::from_static(default), Region::new)
}

/// Scheme and authority of `url`, if they are on loopback.
fn loopback_origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(format!("{scheme}://{authority}")).filter(|origin| is_loopback(origin))
}

/// Whether the host of `url` is an address of this machine by definition: `localhost`, 127.0.0.0/8 or `::1`.
fn is_loopback(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    // Whatever stands before the last `@` is a user name, which could be made to look like a host.
    let host_port = authority.rsplit('@').next().unwrap_or_default();
    let host = match host_port.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => host_port.split(':').next(),
    };
    host.is_some_and(|host| {
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_loopback() {
        for url in [
            "http://127.0.0.1:4566",
            "http://127.8.9.1/q",
            "https://localhost",
            "http://[::1]:80/q",
            "http://LOCALHOST:1",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "https://sqs.eu-west-1.amazonaws.com/1/q",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@example.com/",
            "http://localhost.example.com",
            "http://example.com/127.0.0.1",
            "http://0.0.0.0:1",
            "http://[::2]:80",
            "localhost",
            "",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn distant_queue_needs_its_url_twice() {
        let queue_url = "https://sqs.eu-west-1.amazonaws.com/1/q".to_owned();
        let queue_urls = vec![queue_url.clone(), queue_url.clone() + "-2"];
        let mut to =
            Destination { queue_urls: queue_urls.clone(), endpoint_url: None, yes_send_to: Vec::new(), add: false };
        let refused = to.check(None, None).unwrap_err().to_string();
        assert!(refused.contains("--yes-send-to"), "{refused}");
        assert!(to.check(Some("http://example.com"), None).is_err());
        assert!(to.check(Some("http://localhost:4566"), None).is_ok());
        to.yes_send_to = vec!["https://sqs.eu-west-1.amazonaws.com/1/other".to_owned(), queue_url.clone()];
        assert!(to.check(None, None).unwrap_err().to_string().contains("q-2"), "each of them");
        to.yes_send_to = queue_urls;
        assert!(to.check(None, None).is_ok());
        // Where requests go counts, not what the alerts' queue is called.
        let alerts = Some("http://127.0.0.1:4566/000000000000/alerts");
        let refused = to.check(None, alerts).unwrap_err().to_string();
        assert!(refused.contains("receive and delete"), "{refused}");
        assert!(to.check(Some("http://localhost:4566"), alerts).is_ok());
    }

    /// A queue URL on loopback does not help where the endpoint is elsewhere: the endpoint is where requests go.
    #[test]
    fn loopback_queue_behind_a_distant_endpoint_is_refused() {
        let queue_url = "http://127.0.0.1:4566/000000000000/q".to_owned();
        let to = Destination { queue_urls: vec![queue_url], endpoint_url: None, yes_send_to: Vec::new(), add: false };
        assert!(to.check(Some("https://sqs.eu-west-1.amazonaws.com"), None).is_err());
    }
}
