//! Panics in the work on one repository of a fleet, which must not end the work on the others.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use crate::base::error::Error;

/// Does the work, and returns an internal error if it panics. The panic is also reported on standard error,
/// like every panic.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    // The work of one repository shares counters and memory with the others, and both stay valid.
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Error::internal())
}

/// Does asynchronous work, and returns an internal error if it panics.
pub(super) async fn catch_async<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let mut work = pin!(work);
    poll_fn(|context| match catch(|| work.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn panic_is_an_error_of_one_repository() {
        let results = join_all((0..3).map(|number| {
            catch_async(async move {
                tokio::task::yield_now().await;
                assert_ne!(number, 1, "one panics");
                number
            })
        }))
        .await;
        assert_eq!(results, [Ok(0), Err(Error::internal()), Ok(2)]);
        assert_eq!(catch(|| 1), Ok(1));
    }
}
