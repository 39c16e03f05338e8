//! The CPU resources of an engine: an instruction set, a thread team and a pool of buffers.
//!
//! Burn calls the kernels from inside its tensor operations, whose signatures have no parameter for a context. An engine
//! therefore enters its context for the duration of a forward pass ([`Context::enter`]), and the operations use the context
//! of their thread. Two engines with different contexts can run at the same time.

use std::cell::RefCell;
use std::sync::Arc;

use super::buffers::BufferPool;
use super::isa::Isa;
use super::thread_team::ThreadTeam;

/// The resources that CPU kernels use. Clones share the threads and the buffers.
#[derive(Clone, Debug)]
pub struct Context {
    isa: Isa,
    pub(super) team: Arc<ThreadTeam>,
    pub(crate) buffers: Arc<BufferPool>,
}

thread_local! {
    /// The context that this thread has entered, or its own default.
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

impl Context {
    /// Creates a context with this number of threads, including the calling thread. The other threads start at their first
    /// use, and end when the last clone is dropped.
    pub fn new(isa: Isa, threads: usize) -> Self {
        Self { isa, team: Arc::new(ThreadTeam::new(threads)), buffers: Arc::default() }
    }

    /// Returns a context with another instruction set that shares the threads and the buffers of this one.
    pub fn with_isa(&self, isa: Isa) -> Self {
        Self { isa, ..self.clone() }
    }

    /// Returns the instruction set for weights that are packed in this context.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Returns the number of threads. It is lower than requested if the operating system refused to start some.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// Returns the number of threads that [`Context::run`] would use now: those that no other call of [`Context::enter`]
    /// occupies, or 1 within an item.
    pub fn available_threads(&self) -> usize {
        self.team.available()
    }

    /// Calls `work` with this context as the current one of this thread.
    ///
    /// During the call the thread counts as one of the context's threads: each concurrent call takes one helper away from the
    /// others, so that no more threads work than the context has.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let _run = self.team.begin_run();
        self.install(work)
    }

    /// Calls `work` once for each item in `0..items`, on any thread of the context, with this context as the current one.
    /// Returns when all items are done.
    ///
    /// # Panics
    ///
    /// Panics if an item panicked, after all other items are done.
    pub fn run(&self, items: usize, work: impl Fn(usize) + Sync) {
        self.team.run(items, |item| self.install(|| work(item)));
    }

    /// Returns the context that this thread has entered. Outside of [`Context::enter`] that is a context of this thread
    /// alone, with the fastest instruction set.
    pub(crate) fn current() -> Self {
        CURRENT.with_borrow_mut(|current| current.get_or_insert_with(|| Self::new(Isa::best(), 1)).clone())
    }

    /// Makes this context the current one of the thread for the duration of `work`.
    fn install<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<Context>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_restores_the_previous_context_after_a_panic() {
        let (outer, inner) = (Context::new(Isa::best(), 1), Context::new(Isa::best(), 1));
        let is_current = |context: &Context| Arc::ptr_eq(&Context::current().team, &context.team);
        outer.enter(|| {
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                inner.enter(|| {
                    assert!(is_current(&inner));
                    panic!("this panic is intended");
                });
            }));
            assert!(panicked.is_err());
            assert!(is_current(&outer));
        });
        assert!(!is_current(&outer));
        assert_eq!(Context::current().threads(), 1);
    }

    #[test]
    fn items_run_in_the_context_on_every_thread() {
        let context = Context::new(Isa::best(), 3);
        context.enter(|| {
            context.run(64, |_| {
                assert!(Arc::ptr_eq(&Context::current().team, &context.team));
                assert_eq!(context.available_threads(), 1);
            });
        });
    }

    #[test]
    fn contexts_differ_in_threads_and_instruction_set_at_the_same_time() {
        let portable = *Isa::available().last().unwrap();
        let (one, two) = (Context::new(Isa::best(), 3), Context::new(portable, 2));
        one.enter(|| {
            two.enter(|| {
                assert_eq!((one.available_threads(), two.available_threads()), (one.threads(), two.threads()));
                assert_eq!(Context::current().isa(), portable);
            });
            assert_eq!(Context::current().isa(), Isa::best());
        });
    }
}
