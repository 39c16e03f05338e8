//! One server a folder: two would each believe that what the other lets go is still there.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::OpenError;
use crate::private;

/// Its name in the folder.
const FILE: &str = "feedback.lock";

/// Held as long as this lives; the system gives it back when the process ends, however it ends.
#[derive(Debug)]
pub(in crate) struct Lock(#[expect(dead_code, reason = "it is held, not used")] File);

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, OpenError> {
        let refuse = |error| OpenError::folder(folder, error);
        let options = private::options().create(true).truncate(false).open(folder.join(FILE));
        let file = options.map_err(refuse)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_path_buf())),
            Err(TryLockError::Error(error)) => Err(refuse(error)),
        }
    }
}
