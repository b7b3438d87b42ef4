//! Notes a request as the SDK sent it, and repeats it.
//!
//! While the SDK sends, [`Note`] takes three things from it: the request, the identity that signed it, and the
//! connector that sends it. This file does *not* own the signature of the repetition ([`super::signature`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::AuthSchemeId;
use aws_smithy_runtime_api::client::http::{
    HttpClient as _, HttpConnector as _, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::identity::ResolveCachedIdentity as _;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::{GetIdentityResolver as _, RuntimeComponents};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::timeout::TimeoutConfig;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use simd_json::INPUT_PADDING;

use super::signature::{Signature, date_of, time_of};

use crate::clock::wall;

/// How long credentials without an end are used before the SDK is asked again. The SDK fetches them anew just as often.
const CREDENTIALS_HOLD: Duration = Duration::from_mins(15);

/// So long before the end of credentials, calls go to the SDK. It fetches new ones 10 s before the end.
const BEFORE_END: Duration = Duration::from_secs(15);

/// Each request gets its own values of these headers. The SDK adds the last two after it has signed.
const OWN_HEADERS: [&str; 5] =
    ["content-length", "x-amz-date", "authorization", "amz-sdk-invocation-id", "amz-sdk-request"];

/// A request that the SDK has sent, ready to be sent again with another body.
#[derive(Debug)]
pub(super) struct Noted {
    /// Without a body, and without [`OWN_HEADERS`].
    request: HttpRequest,
    signature: Signature,
    /// How far this machine's clock is behind or ahead, as the SDK has learnt from the answers.
    skew: Skew,
    /// When the SDK has to be asked for an identity again.
    until: SystemTime,
    connector: SharedHttpConnector,
}

/// Notes what the SDK sends.
#[derive(Debug, Clone)]
pub(super) struct Note {
    /// The expected body of the request, as JSON. `None` if nothing is to be noted.
    body: Option<String>,
    noted: Arc<Mutex<Option<Noted>>>,
}

impl Note {
    pub(super) fn new(body: Option<String>) -> Self {
        Self { body, noted: Arc::default() }
    }

    /// The request that the SDK sent last, if it can be repeated.
    pub(super) fn take(&self) -> Option<Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether `body` says the same as the expected one, in any order of its keys.
    fn is_expected(&self, body: &[u8]) -> bool {
        let said = serde_json::from_slice::<serde_json::Value>(body).ok();
        let expected = self.body.as_ref().and_then(|body| serde_json::from_str(body).ok());
        said.is_some() && said == expected
    }
}

#[dyn_dispatch_hint]
impl Intercept for Note {
    fn name(&self) -> &'static str {
        "Note"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        if self.body.is_none() {
            return Ok(());
        }
        let expected = request.body().bytes().filter(|body| self.is_expected(body));
        let noted = expected.and_then(|_| Noted::of(request, components, config));
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = noted;
        Ok(())
    }
}

impl Noted {
    /// Notes `request`. `None` if its way of signing is not known here, or if it cannot be repeated for another reason.
    fn of(request: &HttpRequest, components: &RuntimeComponents, config: &ConfigBag) -> Option<Self> {
        let timeouts = config.load::<TimeoutConfig>()?;
        let mut settings = HttpConnectorSettings::builder();
        settings.set_connect_timeout(timeouts.connect_timeout()).set_read_timeout(timeouts.read_timeout());
        let connector = components.http_client()?.http_connector(&settings.build(), components);
        let resolver = components.identity_resolver(AuthSchemeId::from("sigv4"))?;
        // The SDK has just signed with the identity, so it is in the cache and available at once.
        let cache = components.identity_cache();
        let identity = cache.resolve_cached_identity(resolver, components, config).now_or_never()?.ok()?;
        let until = match identity.expiration() {
            Some(end) => end.checked_sub(BEFORE_END)?,
            None => wall() + CREDENTIALS_HOLD,
        };
        let signature = Signature::of(request, identity.data::<Credentials>()?.secret_access_key())?;
        let mut same = HttpRequest::new(SdkBody::empty());
        same.set_method(request.method()).ok()?;
        same.set_uri(request.uri()).ok()?;
        for (name, value) in request.headers().iter().filter(|(name, _)| !OWN_HEADERS.contains(name)) {
            same.headers_mut().try_append(name.to_owned(), value.to_owned()).ok()?;
        }
        let signed_at = time_of(request.headers().get("x-amz-date")?)?;
        let skew = Skew::between(wall(), signed_at);
        Some(Self { request: same, signature, skew, until, connector })
    }

    /// Whether the SDK has to be asked for an identity at `now`.
    pub(super) fn is_outdated(&self, now: SystemTime) -> bool {
        now >= self.until
    }

    /// Sends the request again, with `body`. Returns the body of the answer, if its status is 200.
    pub(super) async fn repeat(&self, body: String, now: SystemTime) -> Result<Vec<u8>, BoxError> {
        let mut request = self.request.try_clone().ok_or("a body that cannot be cloned")?;
        let date = date_of(self.skew.correct(now)).ok_or("a time that cannot be written")?;
        let authorization = self.signature.sign(&body, &date).ok_or("a signature of another day")?;
        let id = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
        let headers = request.headers_mut();
        headers.try_insert("content-length", body.len().to_string())?;
        headers.try_insert("x-amz-date", date)?;
        headers.try_insert("authorization", authorization)?;
        headers.try_insert("amz-sdk-invocation-id", id.to_string())?;
        headers.try_insert("amz-sdk-request", "attempt=1; max=1")?;
        *request.body_mut() = SdkBody::from(body);
        let answer = self.connector.call(request).await?;
        if answer.status().as_u16() != 200 {
            return Err(format!("status {}", answer.status().as_u16()).into());
        }
        read(answer).await
    }
}

/// The difference of two clocks.
#[derive(Debug, Clone, Copy)]
enum Skew {
    Behind(Duration),
    Ahead(Duration),
}

impl Skew {
    /// The correction that takes `now` to `right`. Up to 5 s count as none: signing takes time, and the date has no
    /// fractions.
    fn between(now: SystemTime, right: SystemTime) -> Self {
        const NONE: Duration = Duration::from_secs(5);
        match right.duration_since(now) {
            Ok(behind) => Self::Behind(Some(behind).filter(|behind| *behind > NONE).unwrap_or_default()),
            Err(ahead) => Self::Ahead(Some(ahead.duration()).filter(|ahead| *ahead > NONE).unwrap_or_default()),
        }
    }

    fn correct(self, now: SystemTime) -> SystemTime {
        match self {
            Self::Behind(by) => now + by,
            Self::Ahead(by) => now.checked_sub(by).unwrap_or(now),
        }
    }
}

/// The whole body of an answer, with room for the padding that simd-json needs behind it.
async fn read(answer: HttpResponse) -> Result<Vec<u8>, BoxError> {
    let length = answer.headers().get("content-length").and_then(|length| length.parse::<usize>().ok());
    let mut body = answer.into_body();
    let mut bytes = Vec::with_capacity(length.unwrap_or(0) + INPUT_PADDING);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_that_the_sdk_corrects_is_corrected_alike() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let minutes = Duration::from_mins(10);
        for right in [now, now + minutes, now - minutes] {
            assert_eq!(Skew::between(now, right).correct(now), right);
        }
        // A date has no fractions of seconds.
        assert_eq!(Skew::between(now + Duration::from_millis(1_900), now).correct(now), now);
    }
}
