//! Every way in which a life of a disk can end, for who wants to look at what each of them leaves.

use super::{PowerLoss, SimDisk};

impl SimDisk {
    /// What is left after a kill and after power losses that keep the least, the most, a random part, all but one
    /// operation, and only one; each with the words for it.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use annals::storage::sim::SimDisk;
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
    ///
    /// let disk = SimDisk::new(1);
    /// let options = Options::new().background(false);
    /// let store = EventStore::open_on(Arc::new(disk.clone()), &options)?;
    /// store.append("order-7", ExpectedVersion::NoStream, NewEvent::new("Placed", "{}"))?;
    /// for (how, left) in disk.endings() {
    ///     let store = EventStore::open_on(Arc::new(left), &options)?;
    ///     assert_eq!(store.head().get(), 1, "{how}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn endings(&self) -> Vec<(String, SimDisk)> {
        let mut left = vec![("kill".to_owned(), self.after_kill())];
        for seed in 0..4 {
            left.push((format!("random {seed}"), self.after_power_loss(PowerLoss::Random, seed)));
        }
        for loss in [PowerLoss::KeepLeast, PowerLoss::KeepMost] {
            left.push((format!("{loss:?}"), self.after_power_loss(loss, 1)));
        }
        for operation in 0..self.operations() {
            left.push((format!("all but {operation}"), self.after_power_loss(PowerLoss::DropOnly(operation), 1)));
            left.push((format!("only {operation}"), self.after_power_loss(PowerLoss::KeepOnly(operation), 1)));
        }
        left
    }
}
