//! The query protocol of SNS and STS: form fields in, XML out.
//!
//! This file owns the encoding. It does *not* own any operation.

use std::{borrow::Cow, collections::BTreeMap};

use hyper::{Response, StatusCode, header};
use percent_encoding::percent_decode_str;

use crate::{body::ReplyBody, xml::element};

/// The fields of a request.
#[derive(Debug, Default)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads `application/x-www-form-urlencoded` text. Bytes that are not UTF-8 are replaced, as a browser would.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let decode = |text: &str| {
            let spaced: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The values of `PREFIX.entry.N.KEY` and `PREFIX.entry.N.VALUE`, by key.
    pub(crate) fn map(&self, prefix: &str, key: &str, value: &str) -> BTreeMap<String, String> {
        let entries = (1..).map_while(|index| {
            let name = self.get(&format!("{prefix}.entry.{index}.{key}"))?;
            let value = self.get(&format!("{prefix}.entry.{index}.{value}")).unwrap_or_default();
            Some((name.to_owned(), value.to_owned()))
        });
        entries.collect()
    }

    /// Whether any field begins with `prefix`.
    pub(crate) fn has(&self, prefix: &str) -> bool {
        self.0.range(prefix.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
    }
}

/// Appends `<entry><key>..</key><value>..</value></entry>` for each pair, inside `<Attributes>`.
pub(crate) fn attributes<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut xml = String::from("<Attributes>");
    for (key, value) in pairs {
        xml.push_str("<entry>");
        element(&mut xml, "key", key);
        element(&mut xml, "value", &value);
        xml.push_str("</entry>");
    }
    xml.push_str("</Attributes>");
    xml
}

/// The answer to a successful `action`. `result` is the XML inside the result element; without it, the element is left
/// out.
pub(crate) fn success(namespace: &str, action: &str, result: Option<&str>) -> Response<ReplyBody> {
    let id = crate::unique::id();
    let result = result.map(|xml| format!("<{action}Result>{xml}</{action}Result>")).unwrap_or_default();
    let metadata = format!("<ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>");
    respond(StatusCode::OK, format!("<{action}Response xmlns=\"{namespace}\">{result}{metadata}</{action}Response>"))
}

/// The answer to a failed request.
pub(crate) fn failure(namespace: &str, status: u16, code: &str, message: &str) -> Response<ReplyBody> {
    let blame = if status < 500 { "Sender" } else { "Receiver" };
    let mut error = String::new();
    element(&mut error, "Type", blame);
    element(&mut error, "Code", code);
    element(&mut error, "Message", message);
    let id = crate::unique::id();
    let body = format!(
        "<ErrorResponse xmlns=\"{namespace}\"><Error>{error}</Error><RequestId>{id}</RequestId></ErrorResponse>"
    );
    respond(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body)
}

fn respond(status: StatusCode, body: String) -> Response<ReplyBody> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/xml"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let form = Form::parse(b"Action=Publish&Message=a+b%2Bc%0A%E2%9C%93&Empty=&Bare");
        assert_eq!(form.get("Message"), Some("a b+c\n✓"));
        assert_eq!((form.get("Empty"), form.get("Bare"), form.get("None")), (Some(""), Some(""), None));
    }

    #[test]
    fn numbered_entries_become_a_map_and_stop_at_a_gap() {
        let form = Form::parse(b"A.entry.1.key=x&A.entry.1.value=1&A.entry.2.key=y&A.entry.2.value=2&A.entry.4.key=z");
        let map = form.map("A", "key", "value");
        assert_eq!(map.into_iter().collect::<Vec<_>>(), [("x".into(), "1".into()), ("y".into(), "2".to_owned())]);
    }
}
