//! Building a state anew beside the one that serves.
//!
//! What is always true: until the new one has come as far as the old one, nothing of it is seen; a failure leaves
//! the old one where it is.

use std::sync::Arc;

use annals::Position;

use crate::error::{Fault, OnError, ProjectionError};
use crate::progress::Progress;
use crate::shared::{Shared, skipped};

/// So many events are folded between two looks at the time.
const BATCH: u64 = 256;

impl<S: Clone + Send + Sync + 'static> Shared<S> {
    pub(crate) fn rebuild_beside(self: &Arc<Shared<S>>) -> Result<Position, ProjectionError> {
        let mut progress = Progress::new(self.definition.fold.initial());
        self.check_history(progress.position)?;
        loop {
            self.fold_into(&mut progress)?;
            let position = progress.position;
            match self.swap(progress)? {
                None => {
                    if self.keeps_snapshots() {
                        // It is told in the status when this fails; the state is there all the same.
                        let _ = self.take_snapshot();
                    }
                    return Ok(position);
                }
                // The old one has gone on meanwhile.
                Some(behind) => progress = behind,
            }
        }
    }

    /// Folds what is behind the position of a state, up to the head of the log.
    fn fold_into(&self, progress: &mut Progress<S>) -> Result<(), ProjectionError> {
        let mut reader = self.store.read(self.definition.about.query.clone(), progress.position)?;
        let mut left = BATCH;
        while let Some(event) = reader.next_event()? {
            if let Err(refused) = progress.apply(&self.definition, &event) {
                let is_as_it_was = progress.restore(&self.definition, &self.store);
                let fault = Fault::new(&event, refused, 1);
                if !is_as_it_was || self.definition.about.on_error != OnError::Skip {
                    return Err(ProjectionError::Faulted(fault));
                }
                progress.skip(skipped(&fault));
            }
            left -= 1;
            if left == 0 {
                progress.renew_base();
                left = BATCH;
            }
        }
        progress.pass(reader.head());
        Ok(())
    }
}
