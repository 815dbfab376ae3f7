//! A token from a header of an HTTP response.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, Method, Url};
use secrecy::{ExposeSecret, SecretString};

use super::super::plan::Http;

/// Redirects within the host that are followed.
const REDIRECTS: usize = 5;

/// The host of a request, for people: nothing else of the URL is shown.
pub(super) fn host(request: &Http) -> String {
    let url = Url::parse(request.url.expose_secret()).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or("an address that is none");
    host.to_owned()
}

/// Asks. The reasons for a failure hold neither URL nor header.
pub(super) async fn token(request: &Http, timeout: Duration) -> Result<SecretString, String> {
    let url = Url::parse(request.url.expose_secret()).map_err(|e| format!("the URL is wrong: {e}"))?;
    let method =
        Method::from_bytes(request.method.as_bytes()).map_err(|_| "the method is wrong".to_owned())?;
    let name = HeaderName::from_bytes(request.header.as_bytes())
        .map_err(|_| "the name of the header to read is wrong".to_owned())?;
    // Building a client needs one; installing twice is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .timeout(timeout)
        .redirect(Policy::custom(within_host))
        .referer(false)
        .build()
        .map_err(|e| reason(e, timeout))?;
    let mut asked = client.request(method, url);
    for (name, value) in &request.headers {
        let mut value = HeaderValue::from_str(value.expose_secret())
            .map_err(|_| format!("the value of its header {name} cannot be sent"))?;
        value.set_sensitive(true);
        asked = asked.header(name, value);
    }
    let response = asked.send().await.map_err(|e| reason(e, timeout))?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("it answered with HTTP status {}", status.as_u16()));
    }
    let value = response.headers().get(&name).ok_or_else(|| format!("its answer has no header {name}"))?;
    let text = value.to_str().map_err(|_| format!("its header {name} is no text"))?;
    Ok(text.to_owned().into())
}

/// A redirect to elsewhere could hand the request's own secrets to whoever is there.
fn within_host(attempt: Attempt<'_>) -> Action {
    let place = |u: &Url| (u.scheme().to_owned(), u.host_str().map(str::to_owned), u.port_or_known_default());
    let same = attempt.previous().first().is_some_and(|first| place(first) == place(attempt.url()));
    let often = attempt.previous().len() > REDIRECTS;
    match (same, often) {
        (true, false) => attempt.follow(),
        (true, true) => attempt.error("it redirects again and again"),
        (false, _) => attempt.error("it redirects to another host, which is not followed"),
    }
}

/// The innermost reason, without the URL.
fn reason(error: reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("no answer within {} ms", timeout.as_millis());
    }
    let error = error.without_url();
    let mut inner: &dyn std::error::Error = &error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    crate::text::summary(&inner.to_string(), 200)
}
