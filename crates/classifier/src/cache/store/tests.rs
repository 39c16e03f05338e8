//! What is answered from memory, who waits for whom, and what is not kept.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::{join, join3, pending};
use tokio::sync::oneshot;

use super::*;

impl Weighed for &'static str {
    fn bytes(&self) -> usize {
        self.len()
    }
}

type Answers = Cache<&'static str, &'static str>;

/// What was counted.
#[derive(Default)]
struct Counts(Mutex<Vec<Outcome>>);

impl Counts {
    fn count(&self) -> impl Fn(Outcome) {
        |outcome| self.0.lock().unwrap().push(outcome)
    }

    fn seen(&self) -> Vec<Outcome> {
        let mut seen = std::mem::take(&mut *self.0.lock().unwrap());
        seen.sort_by_key(|outcome| *outcome as usize);
        seen
    }
}

fn question(number: u8) -> Question {
    Question { key: [number; 32], urgency: 1, deadline: None }
}

/// What is wrong with the question is so for all who ask it.
fn is_shared(error: &&str) -> bool {
    *error == "broken"
}

#[tokio::test]
async fn an_answer_is_made_once_and_a_failure_is_not_kept() {
    let (cache, counts) = (Answers::new(1 << 20), Counts::default());
    let failed = cache.answer(question(1), async { Err("broken") }, is_shared, counts.count()).await;
    assert!(matches!(failed, Found::Failed("broken")), "{failed:?}");
    for (answer, expected) in [("first", Outcome::Miss), ("second", Outcome::Hit)] {
        let found = cache.answer(question(1), async { Ok(answer) }, is_shared, counts.count()).await;
        assert!(matches!(found, Found::Answer("first", look_up) if look_up.outcome == expected), "{found:?}");
    }
    let other = cache.answer(question(2), async { Ok("other") }, is_shared, counts.count()).await;
    assert!(matches!(other, Found::Answer("other", LookUp { outcome: Outcome::Miss, .. })), "{other:?}");
    assert_eq!(counts.seen(), [Outcome::Hit, Outcome::Miss, Outcome::Miss, Outcome::Miss]);
}

#[tokio::test]
async fn who_asks_the_same_meanwhile_waits_for_the_same_run() {
    for outcome in [Ok("answer"), Err("broken")] {
        let (cache, counts) = (Answers::new(1 << 20), Counts::default());
        let (release, held) = oneshot::channel();
        let first = cache.answer(question(1), async { held.await.unwrap() }, is_shared, counts.count());
        let second = async {
            // It is asked once the first runs.
            let run = async { panic!("a second run") };
            let mut asked = Box::pin(cache.answer(question(1), run, is_shared, counts.count()));
            assert!(futures_util::poll!(&mut asked).is_pending());
            release.send(outcome).unwrap();
            asked.await
        };
        match (join(first, second).await, outcome) {
            (
                (
                    Found::Answer("answer", LookUp { outcome: Outcome::Miss, .. }),
                    Found::Answer("answer", LookUp { outcome: Outcome::Coalesced, .. }),
                ),
                Ok(_),
            ) => (),
            ((Found::Failed("broken"), Found::Failed("broken")), Err(_)) => (),
            (found, _) => panic!("{found:?}"),
        }
        assert_eq!(counts.seen(), [Outcome::Miss, Outcome::Coalesced]);
    }
}

#[tokio::test]
async fn if_the_first_fails_for_want_of_room_one_of_the_others_runs_for_all_of_them() {
    let (cache, counts) = (Answers::new(1 << 20), Counts::default());
    let (release, held) = oneshot::channel();
    let first = cache.answer(question(1), async { held.await.unwrap() }, is_shared, counts.count());
    let runs = Mutex::new(0);
    let other = || {
        let run = async {
            *runs.lock().unwrap() += 1;
            tokio::task::yield_now().await;
            Ok("answer")
        };
        cache.answer(question(1), run, is_shared, counts.count())
    };
    let (second, third) = (other(), other());
    let failing = async {
        let mut others = Box::pin(join(second, third));
        assert!(futures_util::poll!(&mut others).is_pending());
        release.send(Err("no room")).unwrap();
        others.await
    };
    let (first, (second, third)) = join(first, failing).await;
    assert!(matches!(first, Found::Failed("no room")), "{first:?}");
    let found = [second, third].map(|found| match found {
        Found::Answer("answer", look_up) => look_up.outcome,
        found => panic!("{found:?}"),
    });
    assert!(found.contains(&Outcome::Miss) && found.contains(&Outcome::Coalesced), "{found:?}");
    assert_eq!(*runs.lock().unwrap(), 1);
    assert_eq!(counts.seen(), [Outcome::Miss, Outcome::Miss, Outcome::Coalesced]);
}

#[tokio::test]
async fn if_the_first_goes_away_the_next_runs() {
    let (cache, counts) = (Answers::new(1 << 20), Counts::default());
    let mut first = Box::pin(cache.answer(question(1), pending(), is_shared, counts.count()));
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = Box::pin(cache.answer(question(1), async { Ok("own") }, is_shared, counts.count()));
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    let found = second.await;
    assert!(matches!(found, Found::Answer("own", LookUp { outcome: Outcome::Miss, .. })), "{found:?}");
    assert_eq!(counts.seen(), [Outcome::Miss, Outcome::Miss]);
}

#[tokio::test]
async fn nobody_waits_for_the_run_of_one_who_is_served_later() {
    let (cache, counts) = (Answers::new(1 << 20), Counts::default());
    let urgent = Question { urgency: 0, ..question(1) };
    let mut patient = Box::pin(cache.answer(question(1), pending(), is_shared, counts.count()));
    assert!(futures_util::poll!(&mut patient).is_pending());
    let found = cache.answer(urgent, async { Ok("now") }, is_shared, counts.count()).await;
    assert!(matches!(found, Found::Answer("now", LookUp { outcome: Outcome::Miss, .. })), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_anothers_run_beyond_his_deadline() {
    let (cache, counts) = (Answers::new(1 << 20), Counts::default());
    let soon = (tokio::time::Instant::now() + Duration::from_secs(1)).into_std();
    let question = Question { deadline: Some(soon), ..question(1) };
    let slow = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok("slow")
    };
    // His own run judges the deadline by itself.
    let first = cache.answer(question, slow, is_shared, counts.count());
    let second = cache.answer(question, pending(), is_shared, counts.count());
    let third = cache.answer(Question { deadline: None, ..question }, pending(), is_shared, counts.count());
    let (first, second, third) = join3(first, second, third).await;
    assert!(matches!(first, Found::Answer("slow", LookUp { outcome: Outcome::Miss, .. })), "{first:?}");
    assert!(matches!(second, Found::Late), "{second:?}");
    assert!(matches!(third, Found::Answer("slow", LookUp { outcome: Outcome::Coalesced, .. })), "{third:?}");
}

#[tokio::test]
async fn no_more_is_kept_than_fits() {
    let (cache, counts) = (Answers::new(20 * ENTRY), Counts::default());
    let mut refused = 0;
    for number in 0..200 {
        let found = cache.answer(question(number), async { Ok("x") }, is_shared, counts.count()).await;
        let Found::Answer("x", LookUp { outcome: Outcome::Miss, is_kept }) = found else { panic!("{found:?}") };
        // What is told is so.
        assert_eq!(is_kept, cache.kept.contains_key(&[number; 32]), "{number}");
        refused += usize::from(!is_kept);
    }
    assert!((1..199).contains(&refused), "{refused} of 200 were not kept");
    let (entries, bytes) = (cache.kept.entry_count(), cache.kept.weighted_size());
    assert!((1..20).contains(&entries) && bytes <= 20 * ENTRY, "{entries} entries of {bytes} bytes");
}
