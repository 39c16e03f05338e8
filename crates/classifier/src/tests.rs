//! What the classifier adds to its rooms: who holds a permit, and for how long.

use std::sync::mpsc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::task::JoinHandle;

use super::*;
use crate::batching;
use crate::test_support::idle;

fn picture() -> Picture {
    Picture { bytes: Bytes::from_static(include_bytes!("../../../tests/data/kinds/rgb.jpg")), file_name: None }
}

/// Has one thread of the pool wait until it is released; tells what came of that.
async fn keep_busy(pool: &DecodePool) -> (mpsc::Sender<()>, JoinHandle<Result<bool, PoolError>>) {
    let (release, held) = mpsc::channel::<()>();
    let pool = pool.clone();
    let busy = tokio::spawn(async move { pool.run(move || held.recv().is_ok()).await });
    tokio::task::yield_now().await;
    (release, busy)
}

#[tokio::test]
async fn a_picture_that_is_late_already_is_not_decoded() {
    let model = Model::all().next().unwrap();
    let (classifier, _worker) = idle(model, batching::Config::default(), DecodePool::new(1));
    let options = Options { top_k: 1, deadline: Some(Instant::now()), ..Options::default() };
    // Decoded, it would be refused for what it is.
    let broken = Picture { bytes: Bytes::from_static(b"\xff\xd8\xff"), file_name: None };
    let refused = classifier.classify(broken, options).await.unwrap_err();
    assert!(matches!(refused, ClassifyError::Batch(BatchError::DeadlinePassed { .. })), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn who_is_late_or_leaves_while_his_question_gets_its_key_is_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let counted = recorder.handle();
    let pool = DecodePool::new(1);
    let start = || idle(Model::all().next().unwrap(), batching::Config::default(), pool.clone());
    let (classifier, _worker) = ::metrics::with_local_recorder(&recorder, start);
    let classifier = classifier.keeping(Answers::new(1 << 20));
    // The only decode thread is busy, and a large picture's key is made there.
    let (release, busy) = keep_busy(&pool).await;
    let large = || Picture { bytes: vec![0; 1 << 20].into(), file_name: None };
    let deadline = (tokio::time::Instant::now() + std::time::Duration::from_secs(1)).into_std();
    let options = Options { top_k: 1, deadline: Some(deadline), ..Options::default() };
    assert!(classifier.classify(large(), options.clone()).now_or_never().is_none());
    let refused = classifier.classify(large(), options).await.unwrap_err();
    assert!(matches!(refused, ClassifyError::Batch(BatchError::DeadlinePassed { .. })), "{refused}");
    let text = counted.render();
    let missed = text.lines().find(|line| line.starts_with("kiln_cache_requests_total") && line.contains("\"miss\""));
    assert!(missed.is_some_and(|line| line.ends_with(" 2")), "{text}");
    release.send(()).unwrap();
    assert_eq!(busy.await.unwrap(), Ok(true));
}

#[tokio::test]
async fn a_decode_that_its_caller_has_left_still_takes_room() {
    let config = batching::Config { queue_capacity: 1, ..batching::Config::default() };
    let pool = DecodePool::new(1);
    let (classifier, _worker) = idle(Model::all().next().unwrap(), config, pool.clone());
    let options = Options { top_k: 1, ..Options::default() };
    // The only decode thread is busy, so the picture that is given up stays where it is.
    let (release, busy) = keep_busy(&pool).await;
    assert!(classifier.classify(picture(), options.clone()).now_or_never().is_none());
    let refused = classifier.classify(picture(), options.clone()).await.unwrap_err();
    assert!(matches!(refused, ClassifyError::Admit(AdmitError::Overloaded { .. })), "{refused}");
    release.send(()).unwrap();
    assert_eq!(busy.await.unwrap(), Ok(true));
    // Behind the abandoned decode, since the pool works in turn.
    pool.run(|| ()).await.unwrap();
    classifier.classify(picture(), options).await.unwrap();
}
