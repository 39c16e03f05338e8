//! Which models there are: their rows, and which of those with one name and version is served now.

use std::sync::Arc;

use super::super::record::ModelFacts;
use super::Writer;
use super::watch::Watch;

impl Writer {
    /// The row of a model, which is watched from then on, and is the one that is served now if it `begins`; nothing where the
    /// database does not take it.
    pub(super) fn row(&mut self, model: &Arc<ModelFacts>, begins: bool) -> Option<i64> {
        let known = self.watches.iter().find(|(_, watch)| watch.is_of(model));
        if let Some((row, _)) = known.filter(|(_, watch)| !begins || watch.is_served()) {
            return Some(*row);
        }
        let registered = Watch::register(&mut self.connection, model).and_then(|row| self.watch(row).map(|()| row));
        let row = registered.inspect_err(|error| tracing::error!(%error, "a model cannot be noted")).ok()?;
        // The one that was served before by its name and version is not any more.
        let named = self.watches.iter_mut().filter(|(_, watch)| watch.is_named_as(model));
        named.for_each(|(other, watch)| watch.serve(*other == row));
        Some(row)
    }

    /// Has a model watched that has a row.
    pub(super) fn watch(&mut self, row: i64) -> rusqlite::Result<()> {
        if !self.watches.contains_key(&row) {
            let watch = Watch::load(&self.connection, row)?;
            self.watches.insert(row, watch);
            // A new one has the series of its name to itself at first, where another may be the one that is served.
            self.watches.values().for_each(Watch::show);
        }
        Ok(())
    }
}
