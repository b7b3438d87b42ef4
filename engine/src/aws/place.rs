//! Where the URL of a queue says that the queue is: in a region of AWS, or at another server.
//!
//! This file owns the forms of SQS hosts
//! (<https://docs.aws.amazon.com/general/latest/gr/sqs-service.html>). It does *not* own what a client does with them.

use url::{Host, Url};

use super::error::Trouble;

/// The domains under which AWS serves its partitions.
const DOMAINS: [&str; 7] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "api.aws",
    "api.amazonwebservices.com.cn",
    "api.amazonwebservices.eu",
    "c2s.ic.gov",
];

/// Where a queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At AWS, in this region.
    Region(String),
    /// Behind a VPC endpoint of this region: a host of its own, which only the URL names.
    VpcEndpoint {
        /// The region.
        region: String,
        /// Scheme, host and port.
        endpoint: String,
    },
    /// At a server that is not AWS.
    Server {
        /// Scheme, host and port.
        endpoint: String,
    },
}

impl Place {
    /// What `url`, the URL of a queue, says; `None` if it is no URL, or the host is AWS's and of no known form.
    #[must_use]
    pub fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let endpoint = url.origin().ascii_serialization();
        let Host::Domain(host) = url.host()? else { return Some(Self::Server { endpoint }) };
        let Some(name) = DOMAINS.into_iter().find_map(|domain| host.strip_suffix(domain)?.strip_suffix('.')) else {
            return Some(Self::Server { endpoint });
        };
        let labels: Vec<&str> = name.split('.').collect();
        match *labels.as_slice() {
            ["sqs" | "sqs-fips", region] | [region, "queue"] => Some(Self::Region(region.to_owned())),
            ["queue"] => Some(Self::Region("us-east-1".to_owned())),
            [.., "sqs" | "sqs-fips", region, "vpce"] => Some(Self::VpcEndpoint { region: region.to_owned(), endpoint }),
            _ => None,
        }
    }

    /// The endpoint that the URL names and that no region leads to.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Region(_) => None,
            Self::VpcEndpoint { endpoint, .. } | Self::Server { endpoint } => Some(endpoint),
        }
    }

    fn region(&self) -> Option<&str> {
        match self {
            Self::Region(region) | Self::VpcEndpoint { region, .. } => Some(region),
            Self::Server { .. } => None,
        }
    }
}

/// Whether `url` names a queue of another region than `region`. For such a queue SQS would answer only "not found".
#[must_use]
pub fn misplaced(url: &str, region: Option<&str>) -> Option<Trouble> {
    let place = Place::of(url)?;
    let actual = place.region()?;
    (region? != actual).then(|| Trouble::WrongRegion { actual: actual.to_owned() })
}

/// The endpoint that all of `urls` name; `None` if they name none, or several.
pub(super) fn endpoint_of<'a>(urls: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut endpoints = urls.into_iter().map(|url| Place::of(url)?.endpoint().map(str::to_owned));
    let first = endpoints.next()??;
    endpoints.all(|endpoint| endpoint.as_ref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_host_names_its_region() {
        for (host, region) in [
            ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
            ("sqs-fips.us-east-2.amazonaws.com", "us-east-2"),
            ("eu-central-1.queue.amazonaws.com", "eu-central-1"),
            ("queue.amazonaws.com", "us-east-1"),
            ("sqs.ap-south-1.api.aws", "ap-south-1"),
            ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("cn-northwest-1.queue.amazonaws.com.cn", "cn-northwest-1"),
            ("sqs.cn-north-1.api.amazonwebservices.com.cn", "cn-north-1"),
            ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("sqs.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ] {
            let url = format!("https://{host}/123456789012/ticks");
            assert_eq!(Place::of(&url), Some(Place::Region(region.to_owned())), "{host}");
            assert_eq!(misplaced(&url, Some(region)), None);
            assert_eq!(misplaced(&url, Some("us-west-2")), Some(Trouble::WrongRegion { actual: region.to_owned() }));
        }
    }

    #[test]
    fn vpc_endpoint_is_an_endpoint_with_a_region() {
        let url = "https://vpce-0a1b-2c3d-us-east-1a.sqs.us-east-1.vpce.amazonaws.com/123456789012/ticks";
        let place = Place::of(url).unwrap();
        assert_eq!(place.region(), Some("us-east-1"));
        assert_eq!(place.endpoint(), Some("https://vpce-0a1b-2c3d-us-east-1a.sqs.us-east-1.vpce.amazonaws.com"));
    }

    #[test]
    fn other_hosts_are_endpoints_and_have_no_region() {
        for (url, endpoint) in [
            ("http://127.0.0.1:4566/000000000000/ticks", "http://127.0.0.1:4566"),
            ("http://[::1]:9324/queue/ticks", "http://[::1]:9324"),
            (
                "http://sqs.us-east-1.localhost.localstack.cloud:4566/0/ticks",
                "http://sqs.us-east-1.localhost.localstack.cloud:4566",
            ),
            ("https://elasticmq.internal/queue/ticks", "https://elasticmq.internal"),
            ("https://amazonaws.com.example.org/1/ticks", "https://amazonaws.com.example.org"),
        ] {
            assert_eq!(Place::of(url).unwrap().endpoint(), Some(endpoint));
            assert_eq!(misplaced(url, Some("eu-west-1")), None);
        }
        assert_eq!(Place::of("https://s3.eu-west-1.amazonaws.com/1/ticks"), None, "no queue");
    }

    #[test]
    fn queues_of_several_servers_have_no_endpoint_in_common() {
        let (a, b, aws) = ("http://a:1/0/x", "http://b:1/0/x", "https://sqs.eu-west-1.amazonaws.com/1/x");
        assert_eq!(endpoint_of([a, "http://a:1/0/y"]), Some("http://a:1".to_owned()));
        for urls in [[a, b], [a, aws], [aws, a]] {
            assert_eq!(endpoint_of(urls), None);
        }
    }
}
