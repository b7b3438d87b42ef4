//! Calls about the server itself, below a path that no bucket can have: which faults are on, and how often each
//! operation was called.
//!
//! The calls are `GET`, `PUT` and `DELETE /_localaws/faults`, and `GET /_localaws/calls`. `PUT` takes a JSON array of
//! faults, or an object with `seed` and `faults`. If there are credentials, each call must be signed, for any service.
//! This file does *not* own what a fault is.

use std::collections::BTreeMap;

use hyper::{Method, Response, StatusCode, header, http::request::Parts};
use serde::{Deserialize, Serialize};

use crate::{
    body::ReplyBody,
    faults::{Fault, FaultError, Faults},
    sigv4::Refusal,
};

/// The prefix of the paths.
pub(crate) const PREFIX: &str = "/_localaws/";

/// The longest list of faults, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The faults that a `PUT` switches on.
#[derive(Deserialize)]
#[serde(untagged)]
enum Switches {
    Faults(Vec<String>),
    Seeded { seed: u64, faults: Vec<String> },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Faults { faults: Vec<String> },
    Calls(BTreeMap<&'static str, u64>),
    Error { error: String },
}

/// Answers one call.
pub(crate) fn answer(head: &Parts, body: &[u8], faults: &Faults) -> Response<ReplyBody> {
    let what = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let (status, answer) = match (what, &head.method) {
        ("faults", &Method::GET) => (StatusCode::OK, list(faults)),
        ("faults", &Method::DELETE) => {
            faults.clear();
            (StatusCode::OK, list(faults))
        }
        ("faults", &Method::PUT) => match switch(body, faults) {
            Ok(()) => (StatusCode::OK, list(faults)),
            Err(error) => (StatusCode::BAD_REQUEST, Answer::Error { error }),
        },
        ("calls", &Method::GET) => (StatusCode::OK, Answer::Calls(faults.all_calls())),
        ("faults" | "calls", method) => {
            let error = format!("{PREFIX}{what} does not take {method}");
            (StatusCode::METHOD_NOT_ALLOWED, Answer::Error { error })
        }
        _ => (StatusCode::NOT_FOUND, Answer::Error { error: format!("expected {PREFIX}faults or {PREFIX}calls") }),
    };
    respond(status, &answer)
}

fn respond(status: StatusCode, answer: &Answer) -> Response<ReplyBody> {
    // Serialization fails only for maps whose keys are not strings. No answer has such a map.
    let mut response = Response::new(serde_json::to_vec(answer).unwrap_or_default().into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// The answer to a call without an accepted signature.
pub(crate) fn refuse(refusal: &Refusal) -> Response<ReplyBody> {
    respond(StatusCode::FORBIDDEN, &Answer::Error { error: refusal.to_string() })
}

fn list(faults: &Faults) -> Answer {
    Answer::Faults { faults: faults.list().iter().map(Fault::to_string).collect() }
}

fn switch(body: &[u8], faults: &Faults) -> Result<(), String> {
    let switches = serde_json::from_slice(body)
        .map_err(|_| r#"expected a JSON array of faults, or {"seed":1,"faults":[..]}"#.to_owned())?;
    let (texts, seed) = match switches {
        Switches::Faults(faults) => (faults, 0),
        Switches::Seeded { seed, faults } => (faults, seed),
    };
    let parsed = texts.iter().map(|text| text.parse()).collect::<Result<Vec<Fault>, FaultError>>();
    faults.set(parsed.map_err(|error| error.to_string())?, seed);
    Ok(())
}
