//! What is in the place of a device that was lost, for all who hold it.

use std::sync::{Arc, Mutex, PoisonError};

use super::ChosenDevice;

/// What was opened in a device's place after it was lost; nothing so far, or for good. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Place(Arc<Mutex<Option<Box<ChosenDevice>>>>);

impl ChosenDevice {
    /// The device that is in its place now: itself, or the last one that was opened when an engine on it failed.
    pub fn latest(&self) -> Self {
        let place = self.place.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*place {
            Some(next) => Self { place: self.place.clone(), ..(**next).clone() },
            None => self.clone(),
        }
    }

    /// It was lost, and `next` was opened in its place.
    pub(in crate) fn replaced_by(&self, next: Self) -> Self {
        let next = Self { cpu: self.cpu.clone(), ..next };
        *self.place.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(next));
        self.latest()
    }
}
