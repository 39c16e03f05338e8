//! A canary that is right about the synthetic picture, and breaks at a photo: the server does without it.

use kiln_image::{self as image, Limits, PreparedImage};
use kiln_inference::{BurnEngine, DeviceChoice, Engine, Logits, Options, Sample, device};
use kiln_inference::model::Weights;

use crate::common::bytes;
use crate::folder::{Folder, until_served};
use crate::weights::{NAME, model, multiplying, showing_features};

pub const PHOTO: &str = "photos/cat_451x300.jpg";

/// What the last layer is given, of the synthetic picture and of the photo.
fn features() -> [Logits; 2] {
    let model = model().with_weights("features", Weights::new(showing_features()));
    let (width, height) = (model.spec().width, model.spec().height);
    let pixels = (0..width as usize * height as usize * 3).map(|i| (i * 7919 % 256) as u8).collect();
    let photo = image::prepare(&bytes(PHOTO), &kiln_classifier::recipe(&model), &Limits::default()).unwrap();
    let samples: [Sample; 2] = [PreparedImage::new(width, height, pixels).into(), photo.image.into()];
    let device = device::choose(&DeviceChoice::Cpu).unwrap();
    let mut engine = BurnEngine::start(model, &device, &Options::new(2), |_| ()).unwrap();
    engine.run(&samples).unwrap().try_into().unwrap()
}

/// Weights for which a score of the photo is beyond all numbers, and none of the synthetic picture.
pub fn breaking_at_the_photo() -> Vec<u8> {
    let [synthetic, photo] = features();
    let ratio = |feature: &usize| photo[*feature] / synthetic[*feature].max(0.01);
    let feature = (0..synthetic.len()).max_by(|a, b| ratio(a).total_cmp(&ratio(b))).unwrap();
    assert!(ratio(&feature) > 4.0 && photo[feature] > 0.1, "no feature tells them apart");
    multiplying(feature, f32::MAX / photo[feature] * 2.0)
}

#[test]
fn a_canary_that_breaks_while_it_runs_is_taken_out_and_the_server_lives() {
    let folder = Folder::new();
    let broken = folder.file("broken.bpk", &breaking_at_the_photo());
    folder.models(&["add", NAME, broken.to_str().unwrap()]);
    folder.models(&["canary", NAME, "2", "--share", "50%"]);
    let server = folder.serve();
    until_served(&server, &[("1", &["stable"]), ("2", &["canary"])]);
    let photo = bytes(PHOTO);
    assert_eq!(server.raw("/predict/raw?version=canary", &photo).code(), "internal_error");
    let line = server.logged_until("a version broke").pop().unwrap();
    assert!(line.contains("not finite"), "{line}");
    until_served(&server, &[("1", &["stable"])]);
    assert_eq!(server.metric("kiln_model_reloads_total", &[r#"outcome="withdrawn""#]), 1.0);
    assert_eq!(server.get("/health/ready").status, 200);
    for _ in 0..8 {
        assert_eq!(server.raw("/predict/raw", &photo).json()["model"]["version"], "1");
    }
    // Labelled anew it gets another chance.
    folder.models(&["canary", NAME, "2", "--share", "10%"]);
    until_served(&server, &[("1", &["stable"]), ("2", &["canary"])]);
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn a_stable_version_that_has_no_score_for_a_photo_answers_the_others_and_the_server_lives() {
    let folder = Folder::new();
    let broken = folder.file("broken.bpk", &breaking_at_the_photo());
    folder.models(&["add", NAME, broken.to_str().unwrap()]);
    folder.models(&["promote", NAME, "2"]);
    let server = folder.serve();
    for _ in 0..2 {
        assert_eq!(server.raw("/predict/raw", &bytes(PHOTO)).code(), "internal_error");
        assert_eq!(server.raw("/predict/raw", &bytes("photos/coffee_640x480.jpg")).status, 200);
    }
    server.logged_until("the weights do not do");
    assert_eq!(server.get("/health/ready").status, 200);
    server.terminate();
    assert!(server.wait().success());
}
