//! The clients that wait until a model is loaded.

use std::collections::BTreeSet;

use kiln_api::model_repository::RepositoryError;
use tokio::sync::oneshot;

/// The clients, each with the model that it waits for.
#[derive(Debug, Default)]
pub(super) struct WaitingClients(Vec<WaitingClient>);

#[derive(Debug)]
struct WaitingClient {
    model: String,
    reply: oneshot::Sender<Result<(), RepositoryError>>,
    /// Whether the model's files do not change any more.
    is_settled: bool,
}

impl WaitingClients {
    /// Adds a client. Its model's files may still change.
    pub(super) fn add(&mut self, model: String, reply: oneshot::Sender<Result<(), RepositoryError>>) {
        self.0.push(WaitingClient { model, reply, is_settled: false });
    }

    /// Returns whether a client waits for a model whose files may still change.
    pub(super) fn has_unsettled(&self) -> bool {
        self.0.iter().any(|client| !client.is_settled)
    }

    /// Returns the models whose files may still change. Forgets the clients that have disconnected.
    pub(super) fn unsettled_models(&mut self) -> BTreeSet<String> {
        self.0.retain(|client| !client.reply.is_closed());
        self.0.iter().filter(|client| !client.is_settled).map(|client| client.model.clone()).collect()
    }

    /// Records that the files of a model do not change any more.
    pub(super) fn settle(&mut self, model: &str) {
        self.0.iter_mut().filter(|client| client.model == model).for_each(|client| client.is_settled = true);
    }

    /// Answers the clients of settled models for which `result` returns one.
    pub(super) fn answer_settled(&mut self, result: impl Fn(&str) -> Option<Result<(), RepositoryError>>) {
        self.answer(|client| if client.is_settled { result(&client.model) } else { None });
    }

    /// Answers all clients of a model with an error.
    pub(super) fn refuse(&mut self, error: &RepositoryError, model: &str) {
        self.answer(|client| (client.model == model).then(|| Err(error.clone())));
    }

    fn answer(&mut self, result: impl Fn(&WaitingClient) -> Option<Result<(), RepositoryError>>) {
        for client in std::mem::take(&mut self.0) {
            match result(&client) {
                // The client may have disconnected.
                Some(result) => drop(client.reply.send(result)),
                None => self.0.push(client),
            }
        }
    }
}
