//! The thread on which requests run.
//!
//! What is always true: no caller runs a future himself. So a call may block wherever blocking is allowed, and does not
//! ask in which runtime it is.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;
use tokio::sync::mpsc as jobs;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A thread with a runtime; dropping it ends both.
pub(crate) struct Runtime {
    jobs: Option<jobs::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl Runtime {
    pub(crate) fn start() -> io::Result<Runtime> {
        let (sender, mut receiver) = jobs::unbounded_channel::<Job>();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("annals-archive".to_owned()).spawn(move || {
            runtime.block_on(async move {
                while let Some(job) = receiver.recv().await {
                    tokio::spawn(job);
                }
            });
        })?;
        Ok(Runtime { jobs: Some(sender), thread: Some(thread) })
    }

    /// What comes of a future, run there. `None` when it has panicked.
    pub(crate) fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (done, waits) = mpsc::sync_channel(1);
        let job = Box::pin(async move {
            // Nobody waits any more when the caller has panicked.
            let _ = done.send(future.await);
        });
        self.jobs.as_ref()?.send(job).ok()?;
        waits.recv().ok()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.jobs = None;
        // A store that is dropped by one of its own requests would wait for itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_may_come_from_inside_another_runtime() {
        let runtime = Runtime::start().unwrap();
        let outer = Builder::new_current_thread().build().unwrap();
        assert_eq!(outer.block_on(async { runtime.run(async { 7 }) }), Some(7));
    }

    #[test]
    fn a_request_that_panics_is_an_error_and_the_next_one_runs() {
        let runtime = Runtime::start().unwrap();
        assert_eq!(runtime.run(async { panic!("on purpose") }), None::<u8>);
        assert_eq!(runtime.run(async { 7 }), Some(7));
    }
}
