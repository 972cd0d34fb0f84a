//! The page, and the stream that keeps it up to date.

use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{
        Html, IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::broadcast::Receiver;

use super::feed::{Feed, Message};

const PAGE: &str = include_str!("page.html");
/// How soon a browser comes again when its stream has ended.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) fn routes(feed: Arc<Feed>) -> Router {
    // Only what bears this number may style or run. Texts of servers, which do not know it, could not even if
    // the page took one for markup.
    let nonce = format!("{:016x}", RandomState::new().hash_one("page"));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = PAGE.replace("{{nonce}}", &nonce);
    let page = move || async move {
        let headers = [
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ];
        (headers, Html(page))
    };
    Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .with_state(feed)
}

/// What has been told in the last ten minutes, and then what happens. 503 once the pool is closed.
async fn events(State(feed): State<Arc<Feed>>) -> Response {
    let Some((so_far, receiver)) = feed.follow() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the pool is closed\n").into_response();
    };
    let first = stream::once(async { Event::default().retry(RETRY) });
    let so_far = stream::iter(so_far).map(event);
    let all = first.chain(so_far).chain(following(receiver).map(event));
    // Or nginx would collect some of it before it passes it on.
    let headers = [("x-accel-buffering", "no")];
    (headers, Sse::new(all.map(Ok::<_, Infallible>))).into_response()
}

fn event(message: Message) -> Event {
    Event::default().event(message.name).data(&*message.json)
}

/// Ends with the feed, and where the browser was too slow: it comes again and is told everything.
fn following(receiver: Receiver<Message>) -> impl Stream<Item = Message> {
    stream::unfold(receiver, |mut receiver| async {
        let message = receiver.recv().await.ok()?;
        Some((message, receiver))
    })
}
