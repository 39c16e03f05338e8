//! Which versions of the models are served, while the server runs: brings up what the labels of the store name, exchanges them
//! between two requests, and lets go of what they name no more. Where a version is not to be had it goes on with what there is.
//!
//! | file | responsibility |
//! |---|---|
//! | `look.rs` | what the store says now, and when that changes |
//! | `follow.rs` | what is done when it does, and when a version breaks |
//! | `wanted.rs` | which versions the labels ask for |
//! | `unit.rs` | one loaded version |
//! | `served.rs` | one model: its units, and which of them is what |

mod follow;
mod look;
mod served;
#[cfg(test)]
mod tests;
mod unit;
mod wanted;

use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, spawn_blocking};

use super::load::{self, LoadError, ModelLoader, join};
use crate::config::Config;
use kiln_feedback as feedback;
use kiln_inference::model::Model;
use kiln_runtime::readiness::Readiness;
use kiln_classifier::registry::Registry;
use crate::store::Store;
use kiln_runtime::telemetry::metrics;
use served::Served;
use unit::{Broken, Loaded, Unit};
use wanted::Case;

/// Everything that is loaded. To be followed while the server runs, and shut down when it ends.
pub(super) struct Updates {
    host: ModelLoader,
    store: Option<Store>,
    /// The model of requests that name none.
    default: String,
    registry: Registry,
    readiness: Readiness,
    models: Vec<Served>,
    next_id: u64,
    broken: (UnboundedSender<Broken>, UnboundedReceiver<Broken>),
    /// At most one version of a model, by its place, as it was asked for.
    loading: JoinSet<(usize, Case, Result<Loaded, LoadError>)>,
    /// Versions that nobody asks for any more, but that still answer somebody.
    retiring: JoinSet<()>,
}

impl Updates {
    /// Loads the stable version of each model and opens the registry.
    ///
    /// # Errors
    ///
    /// A device, or a stable version, is not to be had: another one in its place would be served in silence.
    pub(super) async fn start(
        config: Config,
        default: String,
        registry: Registry,
        readiness: Readiness,
        recorded: Option<feedback::FeedbackStore>,
    ) -> Result<Self, LoadError> {
        let started = Instant::now();
        let store = load::store(&config).ok();
        let host = join(spawn_blocking(move || ModelLoader::open(&config, recorded)).await)?;
        let mut updates = Self {
            host,
            store,
            default,
            registry,
            readiness,
            models: Vec::new(),
            next_id: 0,
            broken: unbounded_channel(),
            loading: JoinSet::new(),
            retiring: JoinSet::new(),
        };
        for model in Model::all() {
            let stable = updates.load_stable(&model).await?;
            metrics::build_info(model.spec().name, model.spec().version);
            updates.models.push(Served::new(model, stable));
        }
        metrics::startup_phase("total", started.elapsed());
        updates.serve();
        Ok(updates)
    }

    async fn load_stable(&mut self, model: &Model) -> Result<Unit, LoadError> {
        let built_in = model.spec().version;
        if let Some(found) = self.store.as_ref().map_or(Ok(None), |store| store.namesake(model))? {
            tracing::warn!(model = model.spec().name, reason = %found, "a version of the store is not served");
        }
        let version = match &self.store {
            Some(store) => store.stable(model)?,
            None => built_in.to_string(),
        };
        let loaded = unit::start(&self.host, self.store.as_ref(), model, &version, load::record_startup_phase).await;
        let loaded = loaded.map_err(|error| match version == built_in {
            true => error,
            false => load::unusable_stable_version(model, &version, &error),
        })?;
        let id = self.id();
        Ok(Unit::stable(&self.host, id, loaded, self.readiness.clone()))
    }

    /// Answers what was taken in, and ends all engines.
    pub(super) async fn shut_down(mut self) {
        for unit in self.models.into_iter().flat_map(Served::into_units) {
            unit.shut_down().await;
        }
        while self.retiring.join_next().await.is_some() {}
    }

    /// Requests find what is loaded now.
    fn serve(&self) {
        self.registry.replace(self.default.clone(), self.models.iter().map(Served::versions).collect());
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
