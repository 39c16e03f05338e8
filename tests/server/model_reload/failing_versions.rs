//! Versions that pass the self-test on the synthetic image and fail on a photo, and label changes while a version loads.

use kiln_image::{self as image, Limits, PreprocessedImage};
use kiln_inference::model::Weights;
use kiln_inference::{BurnEngine, DeviceChoice, Engine, Logits, Options, Sample, device};

use super::store_folder::{StoreFolder, until_served};
use super::weights::{NAME, model, outputting_features, with_feature_weight};
use crate::common::{Server, bytes};

const PHOTO: &str = "photos/cat_451x300.jpg";

/// Returns the inputs of the last layer for the synthetic image and for the photo.
fn features() -> [Logits; 2] {
    let model = model().with_weights("features", Weights::new(outputting_features()));
    let (width, height) = (model.spec().width, model.spec().height);
    let pixels = (0..width as usize * height as usize * 3).map(|i| (i * 7919 % 256) as u8).collect();
    let photo =
        image::preprocess(&bytes(PHOTO), &kiln_classifier::preprocess_spec(&model), &Limits::default()).unwrap();
    let samples: [Sample; 2] = [PreprocessedImage::new(width, height, pixels).into(), photo.image.into()];
    let device = device::choose(&DeviceChoice::Cpu).unwrap();
    let mut engine = BurnEngine::start(model, &device, &Options::new(2), |_| ()).unwrap();
    engine.run(&samples).unwrap().try_into().unwrap()
}

/// Returns weights with which a logit of the photo overflows, and none of the synthetic image.
fn overflowing_on_the_photo() -> Vec<u8> {
    let [synthetic, photo] = features();
    let ratio = |feature: &usize| photo[*feature] / synthetic[*feature].max(0.01);
    let feature = (0..synthetic.len()).max_by(|a, b| ratio(a).total_cmp(&ratio(b))).unwrap();
    assert!(ratio(&feature) > 4.0 && photo[feature] > 0.1, "no feature distinguishes the images");
    with_feature_weight(feature, f32::MAX / photo[feature] * 2.0)
}

#[test]
fn canary_with_non_finite_logits_is_withdrawn_and_the_server_stays_ready() {
    let folder = StoreFolder::new();
    let broken = folder.file("broken.bpk", &overflowing_on_the_photo());
    folder.models(&["add", NAME, broken.to_str().unwrap()]);
    folder.models(&["canary", NAME, "2", "--share", "50%"]);
    let server = folder.serve();
    until_served(&server, &[("1", &["stable"]), ("2", &["canary"])]);
    let photo = bytes(PHOTO);
    assert_eq!(server.raw("/predict/raw?version=canary", &photo).code(), "internal_error");
    let line = server.logged_until("model version failed").pop().unwrap();
    assert!(line.contains("not finite"), "{line}");
    until_served(&server, &[("1", &["stable"])]);
    assert_eq!(server.metric("kiln_model_reloads_total", &[r#"outcome="withdrawn""#]), 1.0);
    assert_eq!(server.get("/health/ready").status, 200);
    for _ in 0..8 {
        assert_eq!(server.raw("/predict/raw", &photo).json()["model"]["version"], "1");
    }
    // A new label gives the version another chance.
    folder.models(&["canary", NAME, "2", "--share", "10%"]);
    until_served(&server, &[("1", &["stable"]), ("2", &["canary"])]);
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn stable_version_with_non_finite_logits_fails_only_the_affected_images() {
    let folder = StoreFolder::new();
    let broken = folder.file("broken.bpk", &overflowing_on_the_photo());
    folder.models(&["add", NAME, broken.to_str().unwrap()]);
    folder.models(&["promote", NAME, "2"]);
    let server = folder.serve();
    for _ in 0..2 {
        assert_eq!(server.raw("/predict/raw", &bytes(PHOTO)).code(), "internal_error");
        assert_eq!(server.raw("/predict/raw", &bytes("photos/coffee_640x480.jpg")).status, 200);
    }
    server.logged_until("the weights are probably corrupt");
    assert_eq!(server.get("/health/ready").status, 200);
    server.terminate();
    assert!(server.wait().success());
}

/// Flags for long warm-ups: a load must take longer than the steps of a test.
const SLOW: [&str; 6] = ["--device", "cpu", "--threads", "160", "--max-batch-size", "160"];

/// Starts a server, and returns it when the load that `label` triggers has begun.
fn loading(folder: &StoreFolder, served: &[(&str, &[&str])], label: impl FnOnce()) -> Server {
    let server = folder.serve_on(&SLOW);
    until_served(&server, served);
    server.logged();
    label();
    server.logged_until("warming up");
    server
}

#[test]
fn rollback_during_the_load_discards_the_version() {
    let folder = StoreFolder::new();
    folder.add(7);
    let server = loading(&folder, &[("1", &["stable"])], || {
        folder.store().promote(&model(), "2").unwrap();
    });
    folder.store().roll_back(&model()).unwrap();
    let lines = server.logged_until("model version unloaded");
    assert!(lines.iter().any(|line| line.contains("engine started")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("versions changed")), "{lines:#?}");
    until_served(&server, &[("1", &["stable"])]);
}

#[test]
fn failing_canary_is_withdrawn_during_another_load_and_stays_withdrawn() {
    let folder = StoreFolder::new();
    folder.store().add(&model(), &Weights::new(overflowing_on_the_photo()), "a test", None).unwrap();
    folder.add(7);
    folder.models(&["canary", NAME, "2", "--share", "50%"]);
    let server = loading(&folder, &[("1", &["stable"]), ("2", &["canary"])], || {
        folder.store().set_shadow(&model(), Some("3")).unwrap();
    });
    assert_eq!(server.raw("/predict/raw?version=canary", &bytes(PHOTO)).code(), "internal_error");
    let mut lines = server.logged_until("model version failed");
    assert!(
        !lines.iter().any(|line| line.contains("engine started")),
        "the withdrawal waited for the load: {lines:#?}"
    );
    until_served(&server, &[("1", &["stable"]), ("3", &["shadow"])]);
    // Changes of other labels do not load the failed version again.
    folder.models(&["shadow", NAME, "--off"]);
    until_served(&server, &[("1", &["stable"])]);
    folder.models(&["shadow", NAME, "3"]);
    until_served(&server, &[("1", &["stable"]), ("3", &["shadow"])]);
    lines.extend(server.logged());
    let started = |line: &&String| line.contains("engine started") && line.contains("\"version\":\"2\"");
    assert_eq!(lines.iter().filter(started).count(), 0, "{lines:#?}");
}
