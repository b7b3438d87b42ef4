//! The one STS operation that tools call to check their credentials: who am I? This file owns nothing else.

use hyper::Response;

use crate::{body::ReplyBody, query, xml::element};

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Answers `GetCallerIdentity`: every caller is the user `local`.
pub(crate) fn caller_identity() -> Response<ReplyBody> {
    let mut result = String::new();
    element(&mut result, "Arn", &format!("arn:aws:iam::{}:user/local", crate::ACCOUNT));
    element(&mut result, "UserId", "AIDALOCAL");
    element(&mut result, "Account", crate::ACCOUNT);
    query::success(NAMESPACE, "GetCallerIdentity", Some(&result))
}
