//! The errors of work that is done again: what is found in an error type of the caller's own.

use std::error::Error as StdError;

use redis::RedisError;

use crate::error::{Error, outcome::Verdict};

/// An error type that work for [`Pool::retry_write`](crate::Pool::retry_write) and
/// [`Pool::retry_writer`](crate::Pool::retry_writer) may fail with.
///
/// There is nothing to implement. It is any type that `?` turns a [`RedisError`] and an [`Error`] into,
/// if the pool can look inside for them: [`RedisError`] itself, an error enum of your own,
/// `Box<dyn Error + Send + Sync>`, `Box<dyn Error>`, `anyhow::Error`, `eyre::Report`.
///
/// The work is done again if the error itself, or one in its chain of
/// [`source`](StdError::source)s, is an error of Redis or of the pool that may pass. Any other error
/// ends it at once. So keep the cause as the source. `#[error(transparent)]` of thiserror hides the error
/// of a pipeline whose commands were refused: such a pipeline is then not sent again.
///
/// ```
/// use redis_rw_pool::{Pool, Retry, redis::{AsyncCommands, RedisError}};
///
/// #[derive(Debug, thiserror::Error)]
/// enum AppError {
///     #[error("no connection to Redis")]
///     Pool(#[from] redis_rw_pool::Error),
///     #[error("Redis failed")]
///     Redis(#[from] RedisError),
///     #[error("there is no such user")]
///     NoUser,
/// }
///
/// async fn rename(pool: &Pool, user: &str, name: &str) -> Result<(), AppError> {
///     pool.retry_write(Retry::default(), |mut conn| async move {
///         if !conn.exists(user).await? {
///             return Err(AppError::NoUser); // at once
///         }
///         Ok(conn.hset(user, "name", name).await?)
///     })
///     .await
/// }
/// ```
///
/// `View` is how the pool looks into the error; the compiler finds it.
#[diagnostic::on_unimplemented(
    message = "work that is retried cannot fail with `{Self}`",
    note = "it must be made from both `redis::RedisError` and `redis_rw_pool::Error` by `From`, and \
            implement `std::error::Error` (or be a boxed one, or an `anyhow::Error`)"
)]
pub trait WorkError<View: ?Sized>: From<RedisError> + From<Error> {
    #[doc(hidden)]
    fn view(&self) -> &(dyn StdError + 'static);
}

impl<E: StdError + From<RedisError> + From<Error> + 'static> WorkError<E> for E {
    fn view(&self) -> &(dyn StdError + 'static) {
        self
    }
}

/// `Box<dyn Error + Send + Sync>` and the errors of anyhow and eyre.
impl<E> WorkError<dyn StdError + Send + Sync> for E
where
    E: AsRef<dyn StdError + Send + Sync> + From<RedisError> + From<Error>,
{
    fn view(&self) -> &(dyn StdError + 'static) {
        self.as_ref()
    }
}

impl WorkError<dyn StdError> for Box<dyn StdError> {
    fn view(&self) -> &(dyn StdError + 'static) {
        &**self
    }
}

/// What the first error of ours or of a server says that is found in this one; `None` if there is none.
pub(super) fn verdict(error: &(dyn StdError + 'static)) -> Option<Verdict> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(verdict) = Verdict::found_in(error) {
            return Some(verdict);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests;
