//! Keeps what is served to what the store says. Three things may happen at any time, and none waits for another: the store says
//! something else, a version breaks, and the one that is being loaded is up or refused.

use super::look::Look;
use super::served::Served;
use super::unit::{self, Loaded, Unit};
use super::wanted::Case;
use super::{LoadError, Updates};
use crate::store::Store;
use kiln_runtime::telemetry::metrics::{self, ReloadOutcome};

impl Updates {
    /// Does what the store's labels say, from now on. Ends when it is dropped; without a store there is nothing to do.
    pub(in crate::app) async fn follow(&mut self) -> std::convert::Infallible {
        let Some(store) = self.store.clone() else { return std::future::pending().await };
        tracing::info!(folder = %store.folder().display(), "the labels of this store are followed");
        let mut look = self.look(&store).await;
        loop {
            self.settle();
            self.load_next(&store);
            tokio::select! {
                () = look.changed() => look = self.look(&store).await,
                Some((id, reason)) = self.broken.1.recv() => self.withdraw(id, &reason),
                Some(Ok((index, case, loaded))) = self.loading.join_next() => match loaded {
                    Ok(loaded) => {
                        self.add(index, &case, loaded);
                        // It answers only if it is still asked for, and not for the second until a change is seen.
                        look = self.look(&store).await;
                    }
                    Err(error) => self.refuse(index, case, &error),
                },
            }
            while self.retiring.try_join_next().is_some() {}
        }
    }

    /// Reads what the store asks for. Where labels cannot be read, what they said goes on.
    async fn look(&mut self, store: &Store) -> Look {
        let models = self.models.iter().map(|served| served.model.clone()).collect();
        let mut look = Look::take(store, models).await;
        for (served, asked) in self.models.iter_mut().zip(&mut look.asked) {
            if let Some(asked) = asked.take() {
                served.ask(asked);
            }
        }
        look
    }

    /// Exchanges what is served for what is asked for, as far as it is loaded.
    fn settle(&mut self) {
        let changed: Vec<Vec<Unit>> = self.models.iter_mut().filter_map(Served::settle).collect();
        if changed.is_empty() {
            return;
        }
        self.serve();
        changed.into_iter().flatten().for_each(|unit| self.retire(unit));
    }

    /// Begins to load what is asked for and is not there: one version after the other, for each takes the processors.
    fn load_next(&mut self, store: &Store) {
        let mut missing = self.models.iter().enumerate().filter_map(|(index, served)| Some((index, served.missing()?)));
        let Some((index, case)) = missing.next().filter(|_| self.loading.is_empty()) else { return };
        drop(missing);
        let (host, store, model) = (self.host.clone(), store.clone(), self.models[index].model.clone());
        self.loading.spawn(async move {
            let loaded = unit::start(&host, Some(&store), &model, &case.what.version, |_| ()).await;
            (index, case, loaded)
        });
    }

    fn add(&mut self, index: usize, case: &Case, loaded: Loaded) {
        let id = self.id();
        let unit = match case.what.aside {
            true => Unit::aside(&self.host, id, loaded, &self.readiness, self.broken.0.clone()),
            false => Unit::stable(&self.host, id, loaded, self.readiness.clone()),
        };
        self.models[index].add(unit);
    }

    fn refuse(&mut self, index: usize, case: Case, error: &LoadError) {
        let served = &mut self.models[index];
        let (model, version) = (served.model.spec().name, &case.what.version);
        tracing::error!(model, %version, reason = %error, "a version stays out; what was served goes on");
        metrics::model_reload(model, ReloadOutcome::Refused);
        served.refuse(case);
    }

    fn withdraw(&mut self, id: u64, reason: &str) {
        let taken = self.models.iter_mut().find_map(|served| Some((served.model.spec().name, served.withdraw(id)?)));
        // It may have been unloaded meanwhile.
        let Some((model, unit)) = taken else { return };
        let version = unit.what.version.clone();
        tracing::error!(model, %version, reason, "a version broke and is not asked any more; the stable one goes on");
        metrics::model_reload(model, ReloadOutcome::Withdrawn);
        self.serve();
        self.retire(unit);
    }

    fn retire(&mut self, unit: Unit) {
        self.retiring.spawn(unit.retire(self.host.clone()));
    }
}
