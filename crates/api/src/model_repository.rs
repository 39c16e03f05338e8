//! The interface between the operations on the model repository and the task that loads its models.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

/// Maximum number of commands that wait for the task.
const MAX_COMMANDS: usize = 16;

/// The operations' end: sends commands to the task, and reads its status. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RepositoryHandle {
    commands: mpsc::Sender<RepositoryCommand>,
    status: watch::Receiver<Arc<[VersionStatus]>>,
}

/// The task's end: receives commands, and publishes the status.
#[derive(Debug)]
pub struct RepositoryTask {
    /// The commands.
    pub commands: mpsc::Receiver<RepositoryCommand>,
    /// The status of all versions, ordered by model; those of a model by version, the highest first.
    pub status: watch::Sender<Arc<[VersionStatus]>>,
}

/// Creates both ends.
pub fn repository_channel() -> (RepositoryHandle, RepositoryTask) {
    let (command_sender, commands) = mpsc::channel(MAX_COMMANDS);
    let (status_sender, status) = watch::channel(Arc::default());
    let task = RepositoryTask { commands, status: status_sender };
    (RepositoryHandle { commands: command_sender, status }, task)
}

/// A command of a client. The task sends the result when the command is complete.
#[derive(Debug)]
pub struct RepositoryCommand {
    /// What to do.
    pub action: RepositoryAction,
    /// Name of the model.
    pub model: String,
    /// Receives the result.
    pub reply: oneshot::Sender<Result<(), RepositoryError>>,
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryAction {
    /// Reads the model's folder now, loads what is new, and serves the model.
    Load,
    /// Removes the model from serving until it is loaded by a command.
    Unload,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// The repository has no folder of that name.
    #[error("the model repository has no model '{0}'")]
    UnknownModel(String),
    /// The model's newest version cannot be loaded. What was served before is still served.
    #[error("model '{model}' is not loaded: {reason}")]
    NotLoaded {
        /// Name of the model.
        model: String,
        /// The cause and the next step.
        reason: String,
    },
    /// The server is starting or shutting down.
    #[error("the server does not load models now")]
    Unavailable,
}

/// The state of a version in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionStatus {
    /// Name of the model: the name of its folder.
    pub model: String,
    /// The version; `None` if the model's folder has none.
    pub version: Option<String>,
    /// Whether it serves requests.
    pub state: VersionState,
    /// Why it does not serve requests.
    pub reason: String,
    /// The file that cannot be loaded, if any. A version whose file was replaced by a broken one is still ready.
    pub load_error: Option<LoadFailure>,
}

/// A file that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadFailure {
    /// The file or folder, relative to the repository.
    pub file: String,
    /// The cause and the next step.
    pub reason: String,
}

/// Whether a version serves requests, in Triton's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// It serves requests.
    Ready,
    /// It is being loaded, or waits for that.
    Loading,
    /// It was unloaded, or cannot be loaded.
    Unavailable,
}

impl fmt::Display for VersionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "READY",
            Self::Loading => "LOADING",
            Self::Unavailable => "UNAVAILABLE",
        })
    }
}

impl RepositoryHandle {
    /// Sends a command and waits until it is complete.
    pub(super) async fn run(&self, action: RepositoryAction, model: &str) -> Result<(), RepositoryError> {
        let (reply, result) = oneshot::channel();
        let command = RepositoryCommand { action, model: model.to_string(), reply };
        self.commands.send(command).await.map_err(|_| RepositoryError::Unavailable)?;
        result.await.unwrap_or(Err(RepositoryError::Unavailable))
    }

    /// Returns the status of all versions.
    pub(super) fn status(&self) -> Arc<[VersionStatus]> {
        Arc::clone(&self.status.borrow())
    }
}
