//! Which versions of the models are served, while the server runs: brings up what the labels of the store name, exchanges them
//! between two requests, and lets go of what they name no more. Where a version is not to be had it goes on with what there is.
//!
//! | file | responsibility |
//! |---|---|
//! | `look.rs` | what the store says now, and when that changes |
//! | `wanted.rs` | which versions the labels ask for |
//! | `unit.rs` | one loaded version |
//! | `served.rs` | one model: its units, and which of them is what |

mod look;
mod served;
mod unit;
mod wanted;

use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, spawn_blocking};

use super::load::{self, Host, LoadError, joined};
use crate::config::Config;
use crate::feedback;
use crate::model::Model;
use crate::readiness::Readiness;
use crate::registry::Registry;
use crate::store::{Labels, Store};
use crate::telemetry::metrics::{self, Swap};
use served::Served;
use unit::{Broken, Unit};
use wanted::Wanted;

/// Everything that is loaded. To be followed while the server runs, and shut down when it ends.
pub(super) struct Updates {
    host: Host,
    store: Option<Store>,
    /// The model of requests that name none.
    default: String,
    registry: Registry,
    readiness: Readiness,
    models: Vec<Served>,
    next_id: u64,
    broken: (UnboundedSender<Broken>, UnboundedReceiver<Broken>),
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
        recorded: Option<feedback::Store>,
    ) -> Result<Self, LoadError> {
        let started = Instant::now();
        let store = load::store(&config).ok();
        let host = joined(spawn_blocking(move || Host::open(&config)).await)?.recording(recorded);
        let mut updates = Self {
            host,
            store,
            default,
            registry,
            readiness,
            models: Vec::new(),
            next_id: 0,
            broken: unbounded_channel(),
            retiring: JoinSet::new(),
        };
        for model in Model::all() {
            let stable = updates.load_stable(&model).await?;
            metrics::build_info(model.spec().name, model.spec().version);
            updates.models.push(Served::new(model, stable));
        }
        metrics::startup("total", started.elapsed());
        updates.serve();
        Ok(updates)
    }

    async fn load_stable(&mut self, model: &Model) -> Result<Unit, LoadError> {
        let built_in = model.spec().version;
        let version = match &self.store {
            Some(store) => store.stable(model)?,
            None => built_in.to_string(),
        };
        let loaded = unit::start(&self.host, self.store.as_ref(), model, &version, load::measure).await;
        let loaded = loaded.map_err(|error| match version == built_in {
            true => error,
            false => load::unusable(model, &version, &error),
        })?;
        let id = self.id();
        Ok(Unit::stable(&self.host, id, loaded, self.readiness.clone()))
    }

    /// Does what the store's labels say, from now on. Ends when it is dropped; without a store there is nothing to do.
    pub(super) async fn follow(&mut self) -> std::convert::Infallible {
        let Some(store) = self.store.clone() else { return std::future::pending().await };
        tracing::info!(folder = %store.folder().display(), "the labels of this store are followed");
        loop {
            // Before they are read, so that no change is missed.
            let models: Vec<Model> = self.models.iter().map(|served| served.model.clone()).collect();
            let mut labelled = look::watch_labels(&store, &models);
            let labels = look::labels(&store, &models).await;
            let mut parts = look::watch_versions(&store, &models, &labels);
            for (index, labels) in labels.into_iter().enumerate() {
                if let Some(labels) = labels {
                    self.bring(index, &labels).await;
                }
            }
            tokio::select! {
                () = labelled.changed() => self.models.iter_mut().for_each(Served::forgive),
                () = parts.changed() => self.models.iter_mut().for_each(Served::forgive),
                Some((id, reason)) = self.broken.1.recv() => self.withdraw(id, &reason),
            }
            while self.retiring.try_join_next().is_some() {}
        }
    }

    /// Answers what was taken in, and ends all engines.
    pub(super) async fn shut_down(mut self) {
        for unit in self.models.into_iter().flat_map(Served::into_units) {
            unit.shut_down().await;
        }
        while self.retiring.join_next().await.is_some() {}
    }

    /// Loads what a model's labels name and is not there, one after the other, and exchanges what is served.
    async fn bring(&mut self, index: usize, labels: &Labels) {
        while let Some(what) = self.models[index].missing(labels) {
            match self.load(&self.models[index].model.clone(), &what).await {
                Ok(unit) => self.models[index].add(unit),
                Err(error) => self.refuse(index, what, &error),
            }
        }
        if let Some(unused) = self.models[index].settle(labels) {
            self.serve();
            for unit in unused {
                self.retire(unit);
            }
        }
    }

    async fn load(&mut self, model: &Model, what: &Wanted) -> Result<Unit, LoadError> {
        let loaded = unit::start(&self.host, self.store.as_ref(), model, &what.version, |_| ()).await?;
        let id = self.id();
        Ok(match what.aside {
            true => Unit::aside(&self.host, id, loaded, &self.readiness, self.broken.0.clone()),
            false => Unit::stable(&self.host, id, loaded, self.readiness.clone()),
        })
    }

    fn refuse(&mut self, index: usize, what: Wanted, error: &LoadError) {
        let served = &mut self.models[index];
        let model = served.model.spec().name;
        tracing::error!(model, version = %what.version, reason = %error, "a version stays out; what was served goes on");
        metrics::swap(model, Swap::Refused);
        served.refuse(what);
    }

    fn withdraw(&mut self, id: u64, reason: &str) {
        let taken = self.models.iter_mut().find_map(|served| Some((served.model.spec().name, served.withdraw(id)?)));
        // It may have been unloaded meanwhile.
        let Some((model, unit)) = taken else { return };
        let version = unit.what.version.clone();
        tracing::error!(model, %version, reason, "a version broke and is not asked any more; the stable one goes on");
        metrics::swap(model, Swap::Withdrawn);
        self.serve();
        self.retire(unit);
    }

    /// Requests find what is loaded now.
    fn serve(&self) {
        self.registry.serve(self.default.clone(), self.models.iter().map(Served::versions).collect());
    }

    fn retire(&mut self, unit: Unit) {
        self.retiring.spawn(unit.retire(self.host.clone()));
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
