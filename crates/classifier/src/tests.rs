//! The classifier as a whole: which requests hold a permit, for how long, and which are counted.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::test_support::{constant, idle};
use kiln_image::{DecodeBudget, DecodePool, Limits, PoolError, decode};
use kiln_inference::model::{Model, Task};

fn photo() -> EncodedImage {
    EncodedImage { bytes: Bytes::from_static(include_bytes!("../../../tests/data/kinds/rgb.jpg")), file_name: None }
}

/// Blocks one thread of the pool until the sender is used. The task returns whether it was.
async fn block_thread(pool: &DecodePool) -> (mpsc::Sender<()>, JoinHandle<Result<bool, PoolError>>) {
    let (release, released) = mpsc::channel::<()>();
    let pool = pool.clone();
    let blocked = tokio::spawn(async move { pool.run(move || released.recv().is_ok()).await });
    tokio::task::yield_now().await;
    (release, blocked)
}

#[tokio::test]
async fn image_is_not_decoded_after_its_deadline() {
    let model = Model::all().next().unwrap();
    let (classifier, _worker) = idle(model, batching::Config::default(), DecodePool::new(1).unwrap());
    let options = RequestOptions { top_k: Some(1), deadline: Some(Instant::now()), ..RequestOptions::default() };
    // If it were decoded, its error would be another one.
    let broken = EncodedImage { bytes: Bytes::from_static(b"\xff\xd8\xff"), file_name: None };
    let error = classifier.classify(broken, options).await.unwrap_err();
    assert!(matches!(error, ClassifyError::Batch(BatchError::DeadlinePassed { .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn requests_that_end_before_they_have_a_cache_key_count_as_misses() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let pool = DecodePool::new(1).unwrap();
    let start = || idle(Model::all().next().unwrap(), batching::Config::default(), pool.clone());
    let (classifier, _worker) = ::metrics::with_local_recorder(&recorder, start);
    let classifier = classifier.with_cache(ResponseCache::new(1 << 20));
    // The only decode thread is busy, and large images are hashed on it.
    let (release, blocked) = block_thread(&pool).await;
    let large = || EncodedImage { bytes: vec![0; 1 << 20].into(), file_name: None };
    let deadline = Some(Instant::now() + Duration::from_secs(1));
    let options = RequestOptions { top_k: Some(1), deadline, ..RequestOptions::default() };
    assert!(classifier.classify(large(), options.clone()).now_or_never().is_none());
    let error = classifier.classify(large(), options).await.unwrap_err();
    assert!(matches!(error, ClassifyError::Batch(BatchError::DeadlinePassed { .. })), "{error}");
    let text = handle.render();
    let missed = text.lines().find(|line| line.starts_with("kiln_cache_requests_total") && line.contains("\"miss\""));
    assert!(missed.is_some_and(|line| line.ends_with(" 2")), "{text}");
    release.send(()).unwrap();
    assert_eq!(blocked.await.unwrap(), Ok(true));
}

#[tokio::test]
async fn cancelled_request_holds_its_place_until_its_decode_ends() {
    let config = batching::Config { queue_capacity: 1, ..batching::Config::default() };
    let pool = DecodePool::new(1).unwrap();
    let (classifier, _worker) = idle(Model::all().next().unwrap(), config, pool.clone());
    let options = RequestOptions { top_k: Some(1), ..RequestOptions::default() };
    // The only decode thread is busy, so the decode of the cancelled request does not start.
    let (release, blocked) = block_thread(&pool).await;
    assert!(classifier.classify(photo(), options.clone()).now_or_never().is_none());
    let error = classifier.classify(photo(), options.clone()).await.unwrap_err();
    assert!(matches!(error, ClassifyError::Admit(AdmitError::Overloaded { .. })), "{error}");
    release.send(()).unwrap();
    assert_eq!(blocked.await.unwrap(), Ok(true));
    // The pool is FIFO, so this runs after the abandoned decode.
    pool.run(|| ()).await.unwrap();
    classifier.classify(photo(), options).await.unwrap();
}

#[tokio::test]
async fn decode_thread_does_not_wait_for_memory_beyond_the_deadline_or_for_a_client_that_left() {
    let pool = DecodePool::new(1).unwrap();
    let with_memory = |bytes| Limits { decode_budget: DecodeBudget::new(bytes), ..Limits::default() };
    let error = decode(&photo().bytes, &with_memory(0)).unwrap_err();
    let ImageError::TooManyBytes { bytes, .. } = error else { panic!("{error}") };
    // Memory for one photo, which another request holds.
    let limits = Arc::new(with_memory(bytes));
    let _held = decode(&photo().bytes, &limits).unwrap();
    let model = Model::all().next().unwrap();
    let (mut classifier, _worker) = idle(model, batching::Config::default(), pool.clone());
    classifier.preprocessor.limits = limits;
    let deadline = Some(Instant::now() + Duration::from_millis(100));
    let options = RequestOptions { top_k: Some(1), ..RequestOptions::default() };
    let late = classifier.classify(photo(), RequestOptions { deadline, ..options.clone() }).await.unwrap_err();
    assert!(matches!(late, ClassifyError::Batch(BatchError::DeadlinePassed { .. })), "{late}");
    let (started, begun) = tokio::sync::oneshot::channel();
    let first_in_pool = pool.clone();
    let task = tokio::spawn(async move {
        tokio::join!(first_in_pool.run(move || started.send(())), classifier.classify(photo(), options))
    });
    begun.await.unwrap();
    task.abort();
    // The only thread is free again, although the memory is not.
    assert_eq!(pool.run(|| 7).await, Ok(7));
}

/// Returns the classes of the photo, whose logits are -1, 2 and 0.
async fn classes(task: Task, options: &RequestOptions) -> Vec<(usize, f32)> {
    let model = Model::described_for_test(|spec| {
        spec.task = task;
        spec.outputs = 3;
    });
    let (classifier, _worker) =
        constant(model, &[-1.0, 2.0, 0.0], batching::Config::default(), DecodePool::new(1).unwrap());
    let classifier = classifier.with_cache(ResponseCache::new(1 << 20));
    let classes = async || {
        let prediction = classifier.classify(photo(), options.clone()).await.unwrap();
        prediction.classes.iter().map(|class| (class.class_id, class.probability)).collect::<Vec<_>>()
    };
    let first = classes().await;
    assert_eq!(classes().await, first, "the cached response");
    first
}

#[tokio::test]
async fn threshold_bounds_the_classes_and_is_half_for_multi_label_models() {
    let ids = |classes: Vec<(usize, f32)>| classes.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let options = |top_k, threshold| RequestOptions { top_k: Some(top_k), threshold, ..RequestOptions::default() };
    let several = classes(Task::MultiLabel, &options(5, None)).await;
    // The sigmoids of 2 and 0; that of -1 is 0.27.
    assert!((several[0].1 - 0.880_797).abs() < 1e-6 && several[1] == (2, 0.5), "{several:?}");
    assert_eq!(ids(several), [1, 2]);
    assert_eq!(ids(classes(Task::MultiLabel, &options(1, None)).await), [1]);
    assert_eq!(ids(classes(Task::MultiLabel, &options(5, Some(0.2))).await), [1, 2, 0]);
    let all = RequestOptions { threshold: Some(0.2), ..RequestOptions::default() };
    assert_eq!(ids(classes(Task::MultiLabel, &all).await), [1, 2, 0]);
    assert!(classes(Task::MultiLabel, &options(5, Some(0.9))).await.is_empty());
    let single = classes(Task::SingleLabel, &options(5, None)).await;
    assert!((single.iter().map(|(_, probability)| probability).sum::<f32>() - 1.0).abs() < 1e-6, "{single:?}");
    assert_eq!(ids(classes(Task::SingleLabel, &options(5, Some(0.5))).await), [1]);
}

#[tokio::test]
async fn embedding_is_the_output_of_the_network() {
    let model = Model::described_for_test(|spec| {
        (spec.task, spec.outputs) = (Task::Embedding, 3);
        spec.labels.clear();
    });
    let (classifier, _worker) =
        constant(model, &[-1.0, 2.0, 0.0], batching::Config::default(), DecodePool::new(1).unwrap());
    let options = RequestOptions { top_k: Some(1), ..RequestOptions::default() };
    let embedding = classifier.embed(photo(), options.clone()).await.unwrap();
    assert_eq!(*embedding.values, [-1.0, 2.0, 0.0]);
    let text = EncodedImage { bytes: Bytes::from_static(b"text"), file_name: None };
    let error = classifier.embed(text, options).await.unwrap_err();
    assert!(matches!(error, ClassifyError::Image(_)), "{error}");
}
